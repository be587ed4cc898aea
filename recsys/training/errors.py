"""Exceptions raised by training."""


class PrunedError(Exception):
    """The pruner of a study stopped the run early. Not a failure."""
