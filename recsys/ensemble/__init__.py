"""Ensembles: finished runs stacked on their validation rows, as one run."""
