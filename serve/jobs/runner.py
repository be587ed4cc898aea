"""Starts a process for each job that this service may compute, and removes results that nobody may have any more."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from recsys.database import DatabaseError
from recsys.database.jobs import Job, Jobs
from serve.jobs.files import JobFiles
from serve.models.model_manager import ModelManager
from serve.process.child import LONGEST_ERROR, Child, last_line
from serve.settings import Settings

log = logging.getLogger("serve")

TIDY_SECONDS = 600.0  # between looks for results that are too old


class JobRunner:
    """Looks for jobs, in a thread of each worker: whichever is first claims one.

    Args:
        settings: With the folder of results, and how many jobs may run at once.
        jobs: Of the database.
        models: With the bundle that is served.
    """

    def __init__(self, settings: Settings, jobs: Jobs, models: ModelManager) -> None:
        self.settings, self.jobs, self.models = settings, jobs, models
        self.files = JobFiles(settings.jobs, str(jobs.database))
        self.start: Callable[[Job, Path, str | None], Child] = self._start
        self._running: dict[str, tuple[Job, Child]] = {}  # by worker
        self._next_tidy = 0.0

    def follow(self, ended: threading.Event, seconds: float) -> None:
        """Look every so many seconds, until the service ends."""
        try:
            while not ended.wait(seconds):
                try:
                    self.poll()
                except DatabaseError:  # which the log says elsewhere
                    pass
                except Exception:  # else no job would be computed any more
                    log.exception("jobs could not be looked for")
        finally:
            for _, child in self._running.values():
                child.kill()

    def poll(self) -> None:
        """Note which processes have ended, remove what is not in the table, and start what may be."""
        self._reap()
        with_files = self.files.job_ids()  # before the table is read: a job is there before its files
        states = self.jobs.states()
        for job_id in with_files - {one.job_id for one in states}:
            self.files.remove(job_id)
        now = time.time()
        if time.monotonic() > self._next_tidy:
            self._next_tidy = time.monotonic() + TIDY_SECONDS
            self.jobs.remove_old()
        model, folder = self.models.current, self.models.folder
        if model is None or folder is None or not self.settings.max_jobs or not any(one.is_free(now) for one in states):
            return
        worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}"
        job = self.jobs.claim(worker, self.settings.max_jobs)
        if job is not None:
            log.info("job %s starts", job.job_id, extra={"fields": {"job_id": job.job_id}})
            self._running[worker] = job, self.start(job, folder, model.bundle.sha256)

    def _start(self, job: Job, folder: Path, sha256: str | None) -> Child:
        of_version = () if sha256 is None else ("--sha256", sha256)
        arguments = (job.job_id, "--worker", str(job.worker), "--bundle", str(folder.absolute()), *of_version)
        return Child("serve.jobs", *arguments, settings=self.settings)

    def _reap(self) -> None:
        for worker, (job, child) in [*self._running.items()]:
            if (status := child.process.poll()) is None:
                continue
            _, errors = child.process.communicate()
            child.kill()
            del self._running[worker]
            fields = {"job_id": job.job_id, "status": status}
            if status == 0:
                log.info("job %s has ended", job.job_id, extra={"fields": fields})
                continue
            said = last_line(errors)[:LONGEST_ERROR]
            log.error("the process of job %s ended early: %s", job.job_id, said, extra={"fields": fields})
            self.jobs.release(job)
