"""Tables and the picture of README and docs from `benchmarks/results`: `python -m benchmarks.tables`."""
