"""The service that answers from a bundle."""
