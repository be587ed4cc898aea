"""Exceptions raised by training."""


class PrunedError(Exception):
    """The pruner of a study stopped the run early. Not a failure."""


class DivergedError(ValueError):
    """The loss, the validation metric or the parameters are not finite; says in which epoch and what to change."""
