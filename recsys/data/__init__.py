"""Read and split ratings, and batch them for models."""
