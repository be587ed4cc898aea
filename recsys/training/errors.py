"""Errors that training raises."""


class PrunedError(Exception):
    """The run was stopped early by a study's pruner. Not a failure."""
