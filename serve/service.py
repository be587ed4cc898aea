"""State shared by all routes, and what runs in the background."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable
from types import FrameType
from typing import ParamSpec

from serve.access.guard import Guard
from serve.answers import AnswerCache
from serve.encodings import Encodings
from serve.http.beside import Beside
from serve.http.load import Load
from serve.live import Live
from serve.metrics import Metrics
from serve.models.model_manager import ModelManager
from serve.models.served_model import ServedModel
from serve.process import logs
from serve.process.deadlines import Deadlines, Overdue
from serve.process.shutdown import WORKER_SECONDS, Ending
from serve.settings import Settings

log = logging.getLogger("serve")

P = ParamSpec("P")


class Service:
    """Settings, models and metrics; `models` is available once the application has started."""

    def __init__(self, settings: Settings, models: ModelManager | None = None) -> None:
        self.settings, self.guard = settings, Guard(settings)
        self.deadlines = Deadlines(most=16)
        self.load = Load(settings.max_in_flight, settings.max_wait_seconds)
        self.beside = Beside(self.load)
        self.encodings = Encodings(settings.encode_together)
        self.answers = AnswerCache(settings.answer_cache_bytes)
        self.metrics = Metrics(self.load)
        self.live: Live | None = None  # opened when the application starts, if the settings name a database
        self._models = models
        self.draining = False
        self._ended = threading.Event()

    @property
    def models(self) -> ModelManager:
        if self._models is None:
            raise RuntimeError("models are loaded when the application starts")
        return self._models

    @property
    def model(self) -> ServedModel | None:
        """The current model; None while the service starts, or waits for its first bundle."""
        return None if self._models is None else self._models.current

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Load the models if necessary, open the database, and follow both while the application runs.

        Raises:
            BundleError: There is no valid bundle, nor a pointer that may name one later.
            DatabaseError: The database's driver is not installed.
        """
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._drain_on_signals(loop, stop)
        seconds = self.settings.poll_seconds
        _start("keys", self.guard.follow_keys, self._ended, seconds)
        if self._models is None or self.settings.database is not None:
            loading = asyncio.ensure_future(self.deadlines.awaited(None, self._load))
            stopped = asyncio.ensure_future(stop.wait())
            await asyncio.wait([loading, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            self._models = loading.result() if loading.done() else None
        if threading.current_thread() is threading.main_thread():  # the process is the service's
            gc.collect()
            gc.freeze()  # what lives as long as the service: no later collection halts answers to look through it
        if self._models is not None:
            _start("follow", self._follow, self._models)
        if self.live is not None:
            _start("database", self.live.follow, self._ended, seconds)
            if self._models is not None:
                _start("jobs", self._run_jobs, self.live, self._models)
        try:
            yield
        finally:
            if self.live is not None:
                with contextlib.suppress(Overdue):  # all threads hang
                    await self.deadlines.awaited(None, self.live.close)
            self._ended.set()  # the threads are left to themselves: they may be loading, or waiting for a file
            logs.finish(logs.EXIT_SECONDS)  # a worker ends by the signal's own action, which writes nothing

    def _load(self) -> ModelManager:
        """The models; the database is opened before them, so that no request comes without."""
        self.live = Live.from_settings(self.settings, self.beside, self.metrics)
        models = self._models or ModelManager.from_settings(self.settings)
        if self.live is not None:
            models.over = self.live.items.over
            models.refresh()
        return models

    def _follow(self, models: ModelManager) -> None:
        """Poll the pointer and swap in new bundles, as long as the service runs."""
        if models.current is not None:
            self.metrics.set_model(models.current, swapped=False)
        while not self._ended.wait(self.settings.poll_seconds):
            try:
                swapped = models.poll()
                if swapped is None:
                    models.refresh()
                self.metrics.set_failed_loads(models.failed_loads)
                self.metrics.set_dropped_lines(logs.dropped())
                if swapped is not None:
                    self.metrics.set_model(swapped, swapped=True)
                    log.info("now serving %s", swapped.version, extra={"fields": {"model_version": swapped.version}})
            except Exception:  # else nothing would be followed any more
                log.exception("the pointer could not be followed")

    def _run_jobs(self, live: Live, models: ModelManager) -> None:
        """Compute jobs in child processes, as long as the service runs."""
        from recsys.database.jobs import Jobs
        from serve.jobs.runner import JobRunner

        JobRunner(self.settings, Jobs(live.database), models).follow(self._ended, self.settings.poll_seconds)

    def _drain_on_signals(self, loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
        """On SIGTERM first report not ready, then stop listening `drain_seconds` later; on SIGINT stop at once.

        Whatever the process is busy with then, it ends in time.
        """
        if threading.current_thread() is not threading.main_thread():
            return  # the host application handles signals
        ending = Ending()
        stop = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def drain(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(stopping.set)
            handler = stop[signal.Signals(number)]
            assert callable(handler)
            again, self.draining = self.draining, True
            if number == signal.SIGINT or again or self._models is None:
                ending.within(WORKER_SECONDS)
                # Never as SIGINT, whose second one would break off answers: a terminal sends it to all processes, and
                # the parent passes it on.
                handler(signal.SIGTERM, frame)
                return
            ending.within(self.settings.drain_seconds + WORKER_SECONDS)
            loop.call_soon_threadsafe(loop.call_later, self.settings.drain_seconds, handler, number, frame)

        for number, handler in stop.items():
            if callable(handler):
                signal.signal(number, drain)


def _start(name: str, function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Let a function run in a thread of its own, which does not hold the end of the process."""
    threading.Thread(target=function, args=args, kwargs=kwargs, name=name, daemon=True).start()
