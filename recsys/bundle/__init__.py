"""The bundle: what a trained model leaves behind and a service answers from. NumPy and safetensors only."""

from recsys.bundle.bundle import (
    TEST,
    TRAIN,
    VAL,
    Bundle,
    BundleError,
    Explanation,
    RatedRows,
    Reason,
    Recommendation,
)

__all__ = ["TEST", "TRAIN", "VAL", "Bundle", "BundleError", "Explanation", "RatedRows", "Reason", "Recommendation"]
