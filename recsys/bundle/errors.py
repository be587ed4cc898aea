"""BundleError: why a folder is no bundle."""

from __future__ import annotations


class BundleError(ValueError):
    """A folder is not a bundle that this version can trust; the message names the file and the reason."""
