"""The service that answers from a bundle: `python -m serve`."""
