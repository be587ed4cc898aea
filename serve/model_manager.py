"""The current model, and hot swaps to a new one."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from recsys.bundle import BundleError
from serve.pointer import Pointed, bundle_folder, newest_run, read_pointer
from serve.replacement import check_replacement
from serve.served_model import ServedModel
from serve.settings import Settings

log = logging.getLogger("serve")

MAX_RETRY_SECONDS = 60.0  # longest wait between retries of a rejected bundle


class ModelManager:
    """Holds the current model. `current` is replaced in one assignment, so each request uses a single model.

    Args:
        current: The initial model.
        folder: Folder of its bundle.
        pointer: File that names the folder to serve; None: always serve `current`.
        poll_seconds: Shortest wait before a rejected bundle is retried.
    """

    def __init__(
        self, current: ServedModel, folder: Path, *, pointer: Path | None = None, poll_seconds: float = 1.0
    ) -> None:
        self.current, self.folder, self.pointer = current, folder, pointer
        self.failed_loads = 0
        self.last_error: str | None = None
        self._serving = _signature(folder)
        self._rejected: tuple[object, ...] | None = None
        self._next_try, self._wait = 0.0, poll_seconds
        self._shortest_wait = poll_seconds

    @classmethod
    def from_settings(cls, settings: Settings) -> ModelManager:
        """Load the bundle given by the settings.

        Raises:
            BundleError: There is no valid bundle.
        """
        if settings.pointer is not None:
            pointed = read_pointer(settings.pointer)
        else:
            pointed = Pointed(newest_run(settings.runs) if settings.bundle is None else bundle_folder(settings.bundle))
        signature = _signature(pointed.folder)  # before loading, so that a change during loading is noticed
        model = ServedModel.load(pointed.folder, sha256=pointed.sha256)
        manager = cls(model, pointed.folder, pointer=settings.pointer, poll_seconds=settings.poll_seconds)
        manager._serving = signature
        return manager

    def poll(self) -> ServedModel | None:
        """Read the pointer and swap in a new bundle. Returns the new model, if any.

        After a rejected bundle the old model stays in service. The bundle is retried with exponential backoff, since it
        may still be being copied.
        """
        if self.pointer is None:
            return None
        attempt: tuple[object, ...] = ("unreadable",)
        try:
            folder, sha256, permitted = read_pointer(self.pointer)
            signature = _signature(folder)
            attempt = (*signature, sha256, permitted)
            if signature == self._serving and sha256 in (None, self.current.bundle.sha256):
                self.last_error = self._rejected = None
                return None
            if attempt == self._rejected and time.monotonic() < self._next_try:
                return None
            model = ServedModel.load(folder, sha256=sha256)
            told = model.version == permitted
            check_replacement(self.current.bundle, model.bundle, str(folder), other_data=told)
        except Exception as error:  # any error: keep serving the old model
            self._reject(attempt, error)
            return None
        self._serving, self._rejected, self.last_error = signature, None, None
        self.folder, self.current = folder, model
        return model

    def _reject(self, attempt: tuple[object, ...], error: Exception) -> None:
        again = attempt == self._rejected
        if again and time.monotonic() < self._next_try:
            return
        self._wait = min(2 * self._wait, MAX_RETRY_SECONDS) if again else self._shortest_wait
        self._next_try, self._rejected = time.monotonic() + self._wait, attempt
        self.failed_loads += 1
        message = str(error) if isinstance(error, BundleError) else f"{type(error).__name__}: {error}"
        if message != self.last_error:
            log.error("bundle rejected; still serving %s: %s", self.current.version, message)
        self.last_error = message


def _signature(folder: Path) -> tuple[object, ...]:
    """Identifies the bundle: changes with the folder, or when the bundle in it is replaced."""
    try:
        stat = (folder / "manifest.json").stat()
    except OSError:
        return (folder, None)
    return (folder, stat.st_ino, stat.st_mtime_ns, stat.st_size)
