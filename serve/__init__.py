"""REST service for a bundle: `python -m serve`."""
