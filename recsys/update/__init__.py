"""Updates: what events after a bundle's cut change of it, and whether that suffices."""

SWEEPS = 1  # of an update of a point estimate, over all users and items
SWEEPS_OF_SAMPLES = 0  # of a posterior's samples, whose mean is as near a full refit without: RMSE and spread of errors
