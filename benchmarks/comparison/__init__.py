"""Recommenders measured beside each other on the same rows: `python -m benchmarks.comparison`."""
