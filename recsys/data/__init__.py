"""Read ratings, split them, and bring them to a model."""
