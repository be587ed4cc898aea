"""Models, one file each; every one of them ends in factors."""
