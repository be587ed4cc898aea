"""Processes of a fit: what they return, log, raise, and what is said when one of them is lost."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch.distributed as dist
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from recsys.training.processes import in_processes

log = logging.getLogger(__name__)


@dataclass
class Job:
    """In the place of a fit."""

    cfg: DictConfig = field(default_factory=lambda: OmegaConf.create({"threads": 1, "trainer": {"accelerator": "cpu"}}))


class Kept(Logger):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    name, version = "kept", ""

    def log_hyperparams(self, *_: Any) -> None: ...

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.told.append((metrics, step))

    def save(self) -> None:
        self.told.append("saved")

    def finalize(self, status: str) -> None:
        self.told.append(status)


def rank() -> int:
    return int(os.environ["LOCAL_RANK"])


def meets(job: Job, data: list[int], loggers: list[Logger]) -> list[Any]:
    """What each process is given, gathered by the first."""
    log.info("process %d", rank())
    for logger in loggers:
        logger.log_metrics({"figure": 0.5}, 3)
        logger.save()
        logger.finalize("success")
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, (rank(), sum(data), [logger.name for logger in loggers]))
    return found


def fails(job: Job, data: Any, loggers: list[Logger]) -> None:
    """The second process fails while the first one waits for it."""
    if rank() == 1:
        raise ValueError("rows must be >= 1, got 0")
    time.sleep(60)


class OddError(Exception):
    """Cannot be pickled."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def fails_oddly(job: Job, data: Any, loggers: list[Logger]) -> None:
    raise OddError(1, 2)


def is_killed(job: Job, data: Any, loggers: list[Logger]) -> None:
    if rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def ends(job: Job, data: Any, loggers: list[Logger]) -> None:
    os._exit(3)


def test_the_first_process_returns_and_logs_for_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kept = Kept()
    assert in_processes(meets, Job(), [1, 2, 3], [kept], 2) == [(0, 6, ["kept"]), (1, 6, ["kept"])]
    assert kept.told == [({"figure": 0.5}, 3), "saved", "success"]
    assert [record.getMessage() for record in caplog.records if record.name == __name__] == ["process 0"]


@pytest.mark.parametrize(
    ("work", "error", "message"),
    [
        (fails, ValueError, "rows must be >= 1, got 0"),
        (fails_oddly, RuntimeError, "OddError: 1 and 2"),
        (is_killed, ChildProcessError, r"process 2 of 2 was killed by SIGKILL before .* resume=<run folder> goes on"),
        (ends, ChildProcessError, "process . of 2 ended with status 3 before the fit was done"),
    ],
)
def test_what_goes_wrong_in_a_process_is_told_at_once(work: Any, error: type[Exception], message: str) -> None:
    start = time.monotonic()
    with pytest.raises(error, match=message):
        in_processes(work, Job(), [], [], 2)
    assert time.monotonic() - start < 45  # which is not the time that the others would have waited


def ends_its_parent(job: Job, data: Any, loggers: list[Logger]) -> None:
    """As `kill` does, or a batch system."""
    if rank() == 0:
        os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(60)


def test_sigterm_is_as_ctrl_c_and_leaves_no_process() -> None:
    start = time.monotonic()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        in_processes(ends_its_parent, Job(), [], [], 2)
    assert time.monotonic() - start < 45
    assert multiprocessing.active_children() == []
    assert signal.getsignal(signal.SIGTERM) is before
