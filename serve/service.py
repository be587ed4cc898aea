"""State shared by all routes, and background tasks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from types import FrameType

from serve.metrics import Metrics
from serve.model_manager import ModelManager
from serve.settings import Settings

log = logging.getLogger("serve")


class Service:
    """Settings, models and metrics; `models` is available once the application has started."""

    def __init__(self, settings: Settings, models: ModelManager | None = None) -> None:
        self.settings, self.metrics = settings, Metrics()
        self._models = models
        self.draining = False

    @property
    def models(self) -> ModelManager:
        if self._models is None:
            raise RuntimeError("models are loaded when the application starts")
        return self._models

    @property
    def started(self) -> bool:
        return self._models is not None

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Load the models if necessary, and follow the pointer while the application runs.

        Raises:
            BundleError: There is no valid bundle.
        """
        if self._models is None:
            self._models = await asyncio.to_thread(ModelManager.from_settings, self.settings)
        self.metrics.set_model(self.models.current, swapped=False)
        self._drain_on_sigterm()
        following = asyncio.create_task(self._follow_pointer()) if self.models.pointer is not None else None
        try:
            yield
        finally:
            if following is not None:
                following.cancel()

    async def _follow_pointer(self) -> None:
        """Poll the pointer and swap in new bundles, as long as the service runs."""
        while True:
            await asyncio.sleep(self.settings.poll_seconds)
            # In a thread, so that the old model keeps serving while the new one is loaded.
            swapped = await asyncio.to_thread(self.models.poll)
            self.metrics.set_failed_loads(self.models.failed_loads)
            if swapped is not None:
                self.metrics.set_model(swapped, swapped=True)
                log.info("now serving %s", swapped.version, extra={"fields": {"model_version": swapped.version}})

    def _drain_on_sigterm(self) -> None:
        """On SIGTERM first report not ready, then stop listening `drain_seconds` later."""
        loop = asyncio.get_running_loop()
        stop = signal.getsignal(signal.SIGTERM)

        def drain(number: int, frame: FrameType | None) -> None:
            assert callable(stop)
            if self.draining:  # the second signal
                stop(number, frame)
                return
            self.draining = True
            loop.call_soon_threadsafe(loop.call_later, self.settings.drain_seconds, stop, number, frame)

        if callable(stop):
            with contextlib.suppress(ValueError):  # not the main thread: the host application handles signals
                signal.signal(signal.SIGTERM, drain)
