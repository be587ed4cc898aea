"""Versions: immutable bundles in a store, what each was made of, and the aliases that name them, with their history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys.versions.aliases import AliasChange, Aliases
    from recsys.versions.bundle_store import BundleStore
    from recsys.versions.host_cache import HostCache
    from recsys.versions.registry import Registry
    from recsys.versions.store import open_store
    from recsys.versions.version import Version, VersionConflictError, VersionError
    from recsys.versions.versions import Champion, Versions, open_versions

MODULES = {
    "AliasChange": "aliases",
    "Aliases": "aliases",
    "BundleStore": "bundle_store",
    "Champion": "versions",
    "HostCache": "host_cache",
    "Registry": "registry",
    "Version": "version",
    "VersionConflictError": "version",
    "VersionError": "version",
    "Versions": "versions",
    "open_store": "store",
    "open_versions": "versions",
}
__all__ = [
    "AliasChange",
    "Aliases",
    "BundleStore",
    "Champion",
    "HostCache",
    "Registry",
    "Version",
    "VersionConflictError",
    "VersionError",
    "Versions",
    "open_store",
    "open_versions",
]


def __getattr__(name: str) -> Any:
    """SQLAlchemy is imported by whoever uses it: a service without a database has none."""
    if name in MODULES:
        from importlib import import_module

        return getattr(import_module(f"recsys.versions.{MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
