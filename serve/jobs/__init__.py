"""Bulk scoring: recommendations for many users at once, computed in child processes and kept as files."""
