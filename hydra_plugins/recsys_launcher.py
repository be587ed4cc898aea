"""Hydra instantiates launchers from this namespace only."""

from recsys.experiments import launcher


class ParallelLauncher(launcher.ParallelLauncher):
    __doc__ = launcher.ParallelLauncher.__doc__
