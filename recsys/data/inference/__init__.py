"""Infer how an unknown file of ratings is written, and what its columns and values mean."""

from recsys.data.inference.columns import infer_columns
from recsys.data.inference.finding import AUTO, Finding
from recsys.data.inference.formats import infer_format
from recsys.data.inference.values import infer_values

__all__ = ["AUTO", "Finding", "infer_columns", "infer_format", "infer_values"]
