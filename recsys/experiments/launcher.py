"""Hydra's joblib launcher, for which a worker that is killed is one failed job and not the end of all."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_joblib_launcher.config import JobLibLauncherConf
from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher
from omegaconf import DictConfig, OmegaConf, open_dict

from recsys.experiments.run_folder import ended, read_json, record_end

log = logging.getLogger(__name__)

Job = tuple[int, Sequence[str]]  # its number and its overrides


class WorkersLauncher(JoblibLauncher):  # type: ignore[misc]
    """Runs jobs in worker processes, `n_jobs` at a time (-1: as many as cores); other arguments are joblib's.

    When the system kills a worker, as it does when memory runs out, joblib gives all jobs up. Here those that were
    running are tried again one by one, so that the one to blame is known, and the others go on side by side.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from joblib import cpu_count, effective_n_jobs

        from recsys.experiments.multirun import count_jobs

        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        try:
            workers = effective_n_jobs(self.joblib["n_jobs"])
        except ValueError as error:
            sys.exit(f"error: hydra.launcher.n_jobs: {error}")
        if workers > 1:
            workers = max(2, min(workers, count_jobs(config)))  # one alone would be this process, which a job might end
            _fork_from_one(threads=max(cpu_count() // workers, 1))
        self.joblib["n_jobs"] = workers

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        self._launch([(initial_job_idx + place, overrides) for place, overrides in enumerate(job_overrides)])
        # What came out is in the jobs' folders; a sweeper looks for errors here, and a job has none of its own.
        return [JobReturn(status=JobStatus.COMPLETED) for _ in job_overrides]

    def _launch(self, jobs: Sequence[Job]) -> None:
        from joblib.externals.loky.process_executor import BrokenProcessPool

        try:
            self._side_by_side(jobs)
        except BrokenProcessPool:
            log.warning("a worker process was killed; what it may have run is tried again, one by one")
            left = [job for job in jobs if not ended(self._folder(job))]
            running = [job for job in left if self._state(job) == "running"] or left  # some died before they said so
            for job in running:
                self._alone(job)
            if others := [job for job in left if job not in running]:
                self._launch(others)

    def _alone(self, job: Job) -> None:
        from joblib.externals.loky.process_executor import BrokenProcessPool

        try:
            self._side_by_side([job])
        except BrokenProcessPool:
            record_end(self._folder(job), "failed", "its process was killed by the system, perhaps for want of memory")

    def _side_by_side(self, jobs: Sequence[Job]) -> None:
        """Runs of jobs whose numbers follow each other: the launcher numbers from the first."""
        start = 0
        for place in range(1, len(jobs) + 1):
            if place == len(jobs) or jobs[place][0] != jobs[place - 1][0] + 1:
                super().launch([overrides for _, overrides in jobs[start:place]], initial_job_idx=jobs[start][0])
                start = place

    def _state(self, job: Job) -> str | None:
        return (read_json(self._folder(job) / "status.json") or {}).get("state")

    def _folder(self, job: Job) -> Path:
        number, overrides = job
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(cfg):
            cfg.hydra.job.num = number
        return Path(cfg.hydra.sweep.dir).absolute() / str(OmegaConf.select(cfg, "hydra.sweep.subdir"))


def _fork_from_one(threads: int) -> None:
    """Let workers be forked from a process that imports torch once for all of them, while jobs are composed.

    On Linux; elsewhere system libraries do not survive a fork, and each worker imports for itself. That process
    computes nothing, so neither OpenMP nor CUDA has anything running that a fork would tear.
    """
    if sys.platform != "linux":
        return
    import multiprocessing.forkserver

    from joblib.externals.loky.backend.context import set_start_method

    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = before or str(threads)  # joblib says it to workers that it starts itself
    try:
        multiprocessing.set_forkserver_preload(["recsys.experiments.forkserver_preload"])
        multiprocessing.forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
    set_start_method("forkserver", force=True)


def be_joblib() -> None:
    """Make `hydra/launcher=joblib` this launcher. The plugin stores itself under that name when Hydra finds it."""
    Plugins.instance()  # finds them all, once
    conf = OmegaConf.structured(JobLibLauncherConf)
    conf._target_ = f"hydra_plugins.recsys_launcher.{WorkersLauncher.__name__}"
    ConfigStore.instance().store(group="hydra/launcher", name="joblib", node=conf, provider="recsys")
