"""The current model, and hot swaps to a new one."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from recsys.bundle import BundleError
from recsys.bundle.manifest import manifest_bytes, sha256_of
from recsys.database.errors import DatabaseError
from serve.candidate import Candidates
from serve.metrics import MULTIPROC_DIR
from serve.models.alias import Alias
from serve.models.pointer import Pointed, bundle_folder, newest_run, read_pointer
from serve.models.replacement import check_replacement
from serve.models.served_model import ServedModel
from serve.process.deadlines import Deadlines, Overdue
from serve.settings import Settings

log = logging.getLogger("serve")

MAX_RETRY_SECONDS = 60.0  # longest wait between retries of a rejected bundle
TURN_SECONDS, TURN_OTHERWISE = 0.0005, sys.getswitchinterval()  # of the thread that loads a bundle beside answers
LOOK_SECONDS = 5.0  # for reading the pointer, on a file system that may hang


class HangsError(BundleError):
    """The pointer lies on a file system that does not answer, or the alias in a database that does not."""


class Seen(NamedTuple):
    """What the pointer or the alias names, and what identifies the bundle there now."""

    pointed: Pointed
    signature: tuple[object, ...]


class ModelManager:
    """Holds the current model. `current` is replaced in one assignment, so each request uses a single model.

    Args:
        current: The initial model; None if there is none yet.
        folder: Folder of its bundle.
        settings: With the pointer, the file that names the folder to serve, or the alias that names a version, if
            `current` may be replaced.

    Attributes:
        over: Makes of a bundle's model the one that answers, such as one with items of a database.

    Raises:
        BundleError: The alias cannot be followed.
    """

    def __init__(self, current: ServedModel | None, folder: Path | None, settings: Settings | None = None) -> None:
        self.settings = Settings() if settings is None else settings
        self.current, self.folder, self.pointer = current, folder, self.settings.pointer
        self.over: Callable[[ServedModel], ServedModel] | None = None
        self._base = current  # of the bundle
        self.failed_loads = 0
        self.last_error: str | None = None
        shared = Path(os.environ[MULTIPROC_DIR]) if self.settings.workers > 1 and MULTIPROC_DIR in os.environ else None
        self._deadlines, self._candidates = Deadlines(), Candidates(self.settings, shared)
        self._alias = None if self.settings.alias is None else Alias(self.settings)
        self._serving = None if folder is None else _signature(folder)
        self._rejected: tuple[object, ...] | None = None
        self._next_try, self._wait = 0.0, self.settings.poll_seconds
        self._looked = time.monotonic()

    @classmethod
    def from_settings(cls, settings: Settings, *, load: bool = True) -> ModelManager:
        """Load the bundle given by the settings. With a pointer or an alias there may be none yet.

        Args:
            settings: What to serve.
            load: Load it; if not, it is only checked, for workers that load it.

        Raises:
            BundleError: There is no valid bundle, and no pointer or alias that may name one later.
        """
        manager = cls(None, None, settings)
        if manager.follows and load:
            manager.poll()
            return manager
        try:
            seen = manager._given()
            if load:
                manager._take(seen, manager._loaded(seen.pointed))
            else:
                manager._fetch(seen.pointed)
                manager._candidates.check(seen.pointed.folder, seen.pointed.sha256)
                manager.folder = seen.pointed.folder
        except BundleError as error:
            if not manager.follows:
                raise
            manager.last_error = str(error)
        return manager

    def __str__(self) -> str:
        """One line for whoever starts the service."""
        if self.folder is None:
            return f"no bundle yet, waiting for one: {self.last_error}"
        if self.current is None:  # checked, not loaded
            content = manifest_bytes(self.folder, self.settings.budget)
            about, version = json.loads(content), sha256_of(content)[:12]
        else:
            about, version = self.current.bundle.manifest, self.current.version
        return f"{about.get('model')} on {about.get('data')}, version {version}, from {self.folder}"

    @property
    def follows(self) -> bool:
        """Whether there is a pointer or an alias to follow."""
        return self.pointer is not None or self._alias is not None

    @property
    def pointer_age(self) -> float | None:
        """Seconds since the pointer or the alias was looked at; None without."""
        return time.monotonic() - self._looked if self.follows else None

    def poll(self) -> ServedModel | None:
        """Read the pointer or the alias, and swap in a new bundle. Returns the new model, if any.

        After a rejected bundle the old model stays in service. The bundle is retried with exponential backoff, since it
        may still be being copied. Reads that hang are left behind.
        """
        if not self.follows:
            return None
        attempt: tuple[object, ...] = ("unreadable",)
        try:
            seen = self._given()
            self._looked = time.monotonic()
            attempt = (*seen.signature, seen.pointed.sha256, seen.pointed.other_data)
            if seen.signature == self._serving and self._is_served(seen.pointed):
                self.last_error = self._rejected = None
                return None
            if attempt == self._rejected and time.monotonic() < self._next_try:
                return None
            self._take(seen, self._loaded(seen.pointed))
        except Exception as error:  # any error: keep serving the old model
            if not isinstance(error, HangsError):
                self._looked = time.monotonic()
            self._reject(attempt, error)
            return None
        return self.current

    def refresh(self) -> None:
        """Let `over` look whether it makes another model of the same bundle by now."""
        if self.over is not None and self._base is not None:
            self.current = self.over(self._base)

    def _given(self) -> Seen:
        """What the settings name."""

        def look() -> Seen:
            seen, ranking = find(), self.settings.rank_with
            if ranking is None:
                return seen
            return seen._replace(signature=(*seen.signature, _signature(bundle_folder(ranking))))

        def find() -> Seen:
            bundle, runs, pointer = self.settings.bundle, self.settings.runs, self.pointer
            if pointer is not None:
                return _look(pointer)
            if self._alias is not None:
                pointed, change = self._alias.look()
                self._alias.clean()
                return Seen(pointed, (pointed.sha256, change))
            folder = newest_run(runs) if bundle is None else bundle_folder(bundle)
            return Seen(Pointed(folder), _signature(folder))

        try:
            return self._deadlines.call(LOOK_SECONDS, look)
        except DatabaseError as error:
            raise HangsError(f"alias {self.settings.alias} cannot be read: {error}") from error
        except Overdue:
            where = self.pointer or self.settings.alias or self.settings.bundle or self.settings.runs
            raise HangsError(f"{where} could not be read within {LOOK_SECONDS:g} s") from None

    def _loaded(self, pointed: Pointed) -> ServedModel:
        """The model of the bundle, which a child process has loaded before.

        Raises:
            BundleError: It is rejected.
        """

        def load() -> ServedModel:
            self._fetch(pointed)
            sha256 = self._candidates.check(pointed.folder, pointed.sha256, fresh_seconds=self._wait)
            sys.setswitchinterval(TURN_SECONDS)  # answers wait for a turn of Python's lock while this thread loads
            try:
                model = ServedModel.load(pointed.folder, sha256=sha256, settings=self.settings)
            finally:
                sys.setswitchinterval(TURN_OTHERWISE)
            if self._base is not None:
                told = model.bundle_version == pointed.other_data
                check_replacement(self._base.bundle, model.bundle, str(pointed.folder), other_data=told)
            return model

        seconds = 2 * self.settings.candidate_seconds  # once in the child, once here
        try:
            return self._deadlines.call(seconds, load)
        except Overdue:
            raise BundleError(
                f"{pointed.folder} could not be checked and loaded within {seconds:g} s, twice candidate_seconds"
            ) from None

    def _fetch(self, pointed: Pointed) -> None:
        """See to it that what an alias names is on this host."""
        if self._alias is not None and pointed.sha256 is not None:
            self._alias.fetch(pointed.sha256)

    def _take(self, seen: Seen, model: ServedModel) -> None:
        self._serving, self._rejected, self.last_error = seen.signature, None, None
        self.folder, self._base = seen.pointed.folder, model
        self.current = model if self.over is None else self.over(model)

    def _is_served(self, pointed: Pointed) -> bool:
        return self.current is not None and pointed.sha256 in (None, self.current.bundle.sha256)

    def _reject(self, attempt: tuple[object, ...], error: Exception) -> None:
        again = attempt == self._rejected
        if again and time.monotonic() < self._next_try:
            return
        self._wait = min(2 * self._wait, MAX_RETRY_SECONDS) if again else self.settings.poll_seconds
        self._next_try, self._rejected = time.monotonic() + self._wait, attempt
        self.failed_loads += 1
        message = str(error) if isinstance(error, BundleError) else f"{type(error).__name__}: {error}"
        if message != self.last_error:
            so_far = (
                "no bundle yet" if self.current is None else f"bundle rejected; still serving {self.current.version}"
            )
            log.error("%s: %s", so_far, message)
        self.last_error = message


def _look(pointer: Path) -> Seen:
    pointed = read_pointer(pointer)
    return Seen(pointed, _signature(pointed.folder))


def _signature(folder: Path) -> tuple[object, ...]:
    """Identifies the bundle: changes with the folder, or when the bundle in it is replaced."""
    try:
        stat = (folder / "manifest.json").stat()
    except OSError:
        return (folder, None)
    return (folder, stat.st_ino, stat.st_mtime_ns, stat.st_size)
