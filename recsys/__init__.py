"""Matrix-factorization recommenders: trained with PyTorch Lightning, composed with Hydra, served with FastAPI."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from recsys.bundle import Bundle, BundleError, Explanation, FoldIn, Recommendation

    __version__: str

__all__ = ["Bundle", "BundleError", "Explanation", "FoldIn", "Recommendation", "__version__", "load"]


def load(path: str | Path) -> Bundle:
    """Load a trained model.

    Args:
        path: A run's folder or a bundle's.

    Raises:
        BundleError: It holds no bundle, or one that is damaged or of a newer version.
    """
    from pathlib import Path

    from recsys.bundle import Bundle

    folder = Path(path)
    return Bundle.load(folder / "bundle" if (folder / "bundle").is_dir() else folder)


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import recsys` is quick."""
    if name == "__version__":
        return _version()
    if name in __all__:
        return getattr(importlib.import_module("recsys.bundle"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """Of the installed distribution; "unknown" where the code runs from a folder."""
    from importlib import metadata

    try:
        return metadata.version("recsys-lightning")
    except metadata.PackageNotFoundError:
        return "unknown"
