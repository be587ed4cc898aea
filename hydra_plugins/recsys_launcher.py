"""Hydra instantiates launchers from this namespace only."""

from recsys.experiments import launcher


class WorkersLauncher(launcher.WorkersLauncher):
    __doc__ = launcher.WorkersLauncher.__doc__
