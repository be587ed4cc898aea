"""Which model is in service, and how another one takes its place."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from recsys.bundle import BundleError
from serve.model import ServedModel
from serve.pointer import bundle_folder, newest_run, read_pointer
from serve.settings import Settings

log = logging.getLogger("serve")

LONGEST_WAIT = 60.0  # seconds between two tries of a bundle that was refused


class Models:
    """The model in service. `current` is replaced in one assignment, so whoever holds it keeps one model.

    Raises:
        BundleError: There is no bundle to start with.
    """

    def __init__(self, settings: Settings) -> None:
        self.pointer = settings.pointer
        self.failed_loads = 0
        self.last_error: str | None = None
        self._refused: tuple[object, ...] | None = None
        self._next_try, self._wait = 0.0, settings.poll_seconds
        self._shortest_wait = settings.poll_seconds
        if self.pointer is not None:
            folder = read_pointer(self.pointer)
        else:
            folder = bundle_folder(settings.bundle) if settings.bundle is not None else newest_run(settings.runs)
        self._serving = _signature(folder)  # before loading: a change meanwhile is then seen as one
        self.folder = folder
        self.current = ServedModel.load(folder)

    def poll(self) -> ServedModel | None:
        """Look at the pointer and swap in what it names now; what came into service, if anything did.

        A bundle that is refused leaves the old one in service. It is tried again, at growing intervals, since a
        slow copy may complete it.
        """
        if self.pointer is None:
            return None
        signature: tuple[object, ...] = ("unreadable",)
        try:
            folder = read_pointer(self.pointer)
            signature = _signature(folder)
            if signature == self._serving:
                self.last_error = self._refused = None
                return None
            if signature == self._refused and time.monotonic() < self._next_try:
                return None
            model = ServedModel.load(folder)
            if model.integer_ids != self.current.integer_ids:
                raise BundleError(f"{folder} has ids of another kind than the bundle in service")
        except Exception as error:  # whatever it is, the old model goes on
            self._refuse(signature, error)
            return None
        self._serving, self._refused, self.last_error = signature, None, None
        self.folder, self.current = folder, model
        return model

    def _refuse(self, signature: tuple[object, ...], error: Exception) -> None:
        again = signature == self._refused
        if again and time.monotonic() < self._next_try:
            return
        self._wait = min(2 * self._wait, LONGEST_WAIT) if again else self._shortest_wait
        self._next_try, self._refused = time.monotonic() + self._wait, signature
        self.failed_loads += 1
        message = str(error) if isinstance(error, BundleError) else f"{type(error).__name__}: {error}"
        if message != self.last_error:
            log.error("bundle refused, %s stays in service: %s", self.current.version, message)
        self.last_error = message


def _signature(folder: Path) -> tuple[object, ...]:
    """Changes when another bundle is put in the folder's place, or the folder is another one."""
    try:
        stat = (folder / "manifest.json").stat()
    except OSError:
        return (folder, None)
    return (folder, stat.st_ino, stat.st_mtime_ns, stat.st_size)
