"""Updates: what events after a bundle's cut change of it, and whether that suffices."""
