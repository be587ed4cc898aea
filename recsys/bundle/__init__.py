"""The bundle: what a trained model leaves behind and a service answers from. NumPy and safetensors only."""

from recsys.bundle.budget import Budget
from recsys.bundle.bundle import Bundle
from recsys.bundle.errors import BundleError
from recsys.bundle.fold_in import FoldIn
from recsys.bundle.ratings import HISTORY, TEST, TRAIN, VAL, UserRatings
from recsys.bundle.results import Explanation, Predictions, Reason, Recommendation

__all__ = [
    "HISTORY",
    "TEST",
    "TRAIN",
    "VAL",
    "Budget",
    "Bundle",
    "BundleError",
    "Explanation",
    "FoldIn",
    "Predictions",
    "Reason",
    "Recommendation",
    "UserRatings",
]
