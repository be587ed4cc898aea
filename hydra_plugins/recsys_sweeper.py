"""Hydra instantiates sweepers from this namespace only."""

from recsys.experiments import sweeper


class OptunaSweeper(sweeper.OptunaSweeper):
    __doc__ = sweeper.OptunaSweeper.__doc__
