"""Worker process of the parallel launcher: runs jobs received over a pipe and exits with its parent."""

from __future__ import annotations

import importlib
import inspect
import signal
from multiprocessing.connection import Connection
from types import FrameType
from typing import NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from recsys.experiments.run_folder import one_line
from recsys.progress import tolerate_closed_output
from recsys.training.parent import exit_with_parent


class TaskReference(NamedTuple):
    """A picklable reference to a command's function, by module and name, without its decorators."""

    module: str
    name: str

    @classmethod
    def of(cls, task: TaskFunction) -> TaskReference:
        function = inspect.unwrap(task)
        return cls(function.__module__, function.__qualname__)

    def load(self) -> TaskFunction:
        function: TaskFunction = inspect.unwrap(getattr(importlib.import_module(self.module), self.name))
        return function


class JobSpec(NamedTuple):
    cfg: DictConfig  # composed, including `hydra`
    hydra_context: HydraContext


def work(connection: Connection, task: TaskReference) -> None:
    """Run jobs until the connection is closed. Replies to each with None, or with Hydra's error message."""
    exit_with_parent()
    tolerate_closed_output()
    signal.signal(signal.SIGINT, _interrupt_once)
    setup_globals()
    function = task.load()
    try:
        while True:
            connection.send(_run(connection.recv(), function))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass


def _run(spec: JobSpec, function: TaskFunction) -> str | None:
    HydraConfig.instance().set_config(spec.cfg)
    done = run_job(
        task_function=function,
        config=spec.cfg,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=spec.hydra_context,
    )
    if done.status is JobStatus.COMPLETED:
        return None
    return one_line(done._return_value)  # the public attribute raises it


def _interrupt_once(signum: int, frame: FrameType | None) -> None:
    """Handle only the first Ctrl-C; it arrives from the terminal and from the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
