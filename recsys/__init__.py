"""Matrix-factorization recommenders, from a ratings file to a measured, served model."""
