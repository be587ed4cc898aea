"""Hydra's joblib launcher, for which a worker that is killed is one failed job and not the end of all."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_joblib_launcher._core import process_joblib_cfg
from hydra_plugins.hydra_joblib_launcher.config import JobLibLauncherConf
from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher
from omegaconf import DictConfig, OmegaConf, open_dict

from recsys.run_folder import ended, failed

log = logging.getLogger(__name__)

Job = tuple[int, Sequence[str]]  # its number and its overrides


class WorkersLauncher(JoblibLauncher):  # type: ignore[misc]
    """Runs jobs in worker processes, `n_jobs` at a time (-1: as many as cores); other arguments are joblib's.

    When the system kills a worker, as it does when memory runs out, joblib gives all jobs up. Here those that were
    running are tried again one by one, so that the one to blame is known, and the others go on side by side.
    """

    loading: Iterator[None] = iter(())  # one a worker that imports what jobs need

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Starts the workers: they import torch while the sweeper composes the first jobs."""
        from joblib import Parallel, delayed, effective_n_jobs

        from recsys.sweep import expected_jobs, load_worker

        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        process_joblib_cfg(self.joblib)  # as launch does: workers are kept for it only if it asks for the same
        workers = effective_n_jobs(self.joblib["n_jobs"])
        if workers > 1:
            pool = Parallel(**self.joblib | {"backend": "loky", "return_as": "generator_unordered"})
            self.loading = pool(delayed(load_worker)() for _ in range(min(workers, expected_jobs() or workers)))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        from joblib.externals.loky.process_executor import BrokenProcessPool

        with suppress(BrokenProcessPool):
            for _ in self.loading:
                pass
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
            running = [job for job in left if (self._folder(job) / "status.json").exists()]
            for job in running:
                self._alone(job)
            if others := [job for job in left if job not in running]:
                self._launch(others)

    def _alone(self, job: Job) -> None:
        from joblib.externals.loky.process_executor import BrokenProcessPool

        try:
            self._side_by_side([job])
        except BrokenProcessPool:
            failed(self._folder(job), "its process was killed by the system, perhaps for want of memory")

    def _side_by_side(self, jobs: Sequence[Job]) -> None:
        """Runs of jobs whose numbers follow each other: the launcher numbers from the first."""
        start = 0
        for place in range(1, len(jobs) + 1):
            if place == len(jobs) or jobs[place][0] != jobs[place - 1][0] + 1:
                super().launch([overrides for _, overrides in jobs[start:place]], initial_job_idx=jobs[start][0])
                start = place

    def _folder(self, job: Job) -> Path:
        number, overrides = job
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(cfg):
            cfg.hydra.job.num = number
        return Path(cfg.hydra.sweep.dir).absolute() / str(OmegaConf.select(cfg, "hydra.sweep.subdir"))


def be_joblib() -> None:
    """Make `hydra/launcher=joblib` this launcher. The plugin stores itself under that name when Hydra finds it."""
    Plugins.instance()  # finds them all, once
    conf = OmegaConf.structured(JobLibLauncherConf)
    conf._target_ = f"{__name__}.{WorkersLauncher.__name__}"
    ConfigStore.instance().store(group="hydra/launcher", name="joblib", node=conf, provider="recsys")
