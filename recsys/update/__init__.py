"""Updates: what events after a bundle's cut change of it, and whether that suffices."""

SWEEPS = 1  # of an update, over all users and items
