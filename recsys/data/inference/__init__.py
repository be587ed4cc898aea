"""Infer how an unknown file of ratings is written, and what its columns and values mean."""
