"""The alias that a service follows: it names a version, which each host fetches once."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from recsys.bundle import BundleError
from recsys.database.errors import DatabaseError
from recsys.versions.version import SHOWN
from serve.models.pointer import Pointed
from serve.settings import Settings

if TYPE_CHECKING:
    from recsys.versions import Versions

CLEAN_SECONDS = 10.0  # between looks whether copies on this host were withdrawn


class Named(NamedTuple):
    """What an alias names."""

    pointed: Pointed  # its folder is there once it is fetched
    change: int  # number of the change by which it is named


class Alias:
    """An alias of the database of some settings.

    Args:
        settings: With database, store and alias.

    Raises:
        BundleError: There is no such store, or no such kind of database, or a package is missing.
    """

    def __init__(self, settings: Settings) -> None:
        self.name = str(settings.alias)
        self._prepared, self._cleaned = False, float("-inf")
        self._fetching = threading.Lock()
        self._versions = _opened(settings)

    def look(self) -> Named:
        """What it names now.

        Raises:
            DatabaseError: The database does not answer.
            BundleError: It names nothing.
        """
        versions = self._versions
        if not self._prepared:
            versions.database.prepare()
            self._prepared = True
        change = versions.aliases.last(self.name)
        if change is None:
            raise BundleError(
                f"alias {self.name} names no version; `recsys versions add RUN --alias {self.name}` sets it"
            )
        told = change.version[:SHOWN] if change.other_data else None
        return Named(Pointed(versions.cache.place(change.version), change.version, told), change.number)

    def fetch(self, version: str) -> Path:
        """The folder of a version on this host.

        Raises:
            BundleError: It is not in the store, or not what it should be.
        """
        from recsys.versions import VersionError

        try:
            with self._fetching:
                return self._versions.cache.folder(version)
        except VersionError as error:
            raise BundleError(str(error)) from error

    def clean(self) -> None:
        """Now and then, remove this host's copies of versions that were withdrawn.

        Raises:
            DatabaseError: The database does not answer.
            WriteError: They cannot be removed.
        """
        if time.monotonic() < self._cleaned + CLEAN_SECONDS:
            return
        self._cleaned = time.monotonic()
        cache = self._versions.cache
        if copies := cache.versions():
            cache.remove(self._versions.registry.withdrawn(copies))


def _opened(settings: Settings) -> Versions:
    try:
        from recsys.database import Database
        from recsys.versions import VersionError, Versions, open_store
    except ModuleNotFoundError as error:
        raise BundleError(f"alias needs {error.name}: pip install 'recsys-lightning[live]'") from None
    try:
        database = Database.at(settings.database, name="database")
        return Versions(database, open_store(settings.store, budget=settings.budget))
    except (VersionError, DatabaseError) as error:
        raise BundleError(str(error)) from error
