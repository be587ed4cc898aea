"""The error of ratings that cannot be used."""

from __future__ import annotations


class DataError(ValueError):
    """Invalid ratings; the message names file, place, value and allowed values."""
