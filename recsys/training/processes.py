"""Start the processes of a fit on this machine, one for each device, and watch them.

Data are read, models evaluated and bundles written by the process that starts them: they fit, and the first of them
writes checkpoints. Loggers stay here as well, and are told what the first one logs.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import socket
from collections.abc import Callable, Mapping
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

import torch
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from recsys.progress import tolerate_closed_output
from recsys.training.parent import exit_with_parent
from recsys.training.threads import choose_threads

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Any, Any, list[Logger]], T]
Connection = connection.Connection
SECONDS = 5.0  # that processes have to end


def in_processes(work: Work[T], fit: Any, data: Any, loggers: list[Logger], world: int) -> T:
    """Call `work(fit, data, loggers)` in so many processes of one process group. Returns what the first one returns.

    Args:
        work: A function of a module.
        fit: Its first argument, with a configuration `cfg`; it is pickled, and so are the data.
        data: Its second argument.
        loggers: Where the first process logs to.
        world: Number of processes.

    Raises:
        ChildProcessError: A process was killed, or ended without a word.
        Exception: What `work` raises in any of them.
    """
    context = multiprocessing.get_context("spawn")  # neither CUDA nor OpenMP survives a fork
    port, processes, watched = _free_port(), list[BaseProcess](), dict[Connection, int]()
    try:
        for rank in range(world):
            ours, theirs = context.Pipe()
            arguments = theirs, rank, world, port, work, fit, data
            process: BaseProcess = context.Process(target=_run, args=arguments, daemon=True)
            process.start()
            theirs.close()  # so that reading from a dead process raises EOFError
            processes.append(process)
            watched[ours] = rank
        return cast(T, _watch(watched, processes, loggers))
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(SECONDS)
            process.kill()
            process.join()


def _watch(watched: dict[Connection, int], processes: list[BaseProcess], loggers: list[Logger]) -> Any:
    """Hear what the processes say until all are done.

    Where one is lost, the others fail as they wait for it; so the reason is looked for among all that fail at once.
    """
    found, errors = None, list[BaseException]()
    while watched:
        ready = connection.wait(list(watched), SECONDS if errors else None)
        if not ready:
            break
        for one in ready:
            assert isinstance(one, Connection)
            rank = watched[one]
            try:
                kind, *content = one.recv()
            except (EOFError, OSError):
                raise _lost(rank, processes) from None
            if kind in ("done", "error"):
                del watched[one]
            if kind == "error":
                errors.append(content[0])
            elif kind == "done":
                found = content[0] if rank == 0 else found
            elif kind == "record":
                logging.getLogger(content[0].name).handle(content[0])
            else:
                for logger in loggers:
                    getattr(logger, kind)(*content)
        if any(not isinstance(error, RuntimeError) for error in errors):
            break
    if errors:
        raise min(errors, key=lambda error: isinstance(error, RuntimeError))  # as are those of a broken connection
    return found


def _lost(rank: int, processes: list[BaseProcess]) -> ChildProcessError:
    process = processes[rank]
    process.join(SECONDS)
    code = process.exitcode or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    return ChildProcessError(
        f"process {rank + 1} of {len(processes)} {how} before the fit was done: "
        "resume=<run folder> goes on from its last checkpoint"
    )


def _run(driver: Connection, rank: int, world: int, port: int, work: Work[Any], fit: Any, data: Any) -> None:
    """The life of a process."""
    from recsys.training.trainer import quiet_libraries

    exit_with_parent()
    tolerate_closed_output()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process that waits, which ends this one
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    os.environ["WORLD_SIZE"] = str(world)
    logging.getLogger().handlers = [_Sent(driver)] if rank == 0 else [logging.NullHandler()]
    logging.getLogger().setLevel(logging.INFO)
    quiet_libraries(rank)
    torch.set_num_threads(choose_threads(fit.cfg.get("threads")))
    try:
        found = work(fit, data, [_SentMetrics(driver)] if rank == 0 else [])
        driver.send(("done", found if rank == 0 else None))
    except BaseException as error:
        driver.send(("error", _picklable(error)))


def _picklable(error: BaseException) -> BaseException:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


class _Sent(logging.Handler):
    """Sends log records to the process that started this one."""

    def __init__(self, driver: Connection) -> None:
        super().__init__()
        self.driver = driver

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None  # so that it can be pickled
        self.driver.send(("record", record))


class _SentMetrics(Logger):
    """Sends what is logged to the process that started this one, for all of its loggers."""

    def __init__(self, driver: Connection) -> None:
        super().__init__()
        self.driver = driver

    @property
    def name(self) -> str:
        return "sent"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: they are in `config.yaml`, and trackers have them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.driver.send(("log_metrics", dict(metrics), step))

    def save(self) -> None:
        self.driver.send(("save",))

    def finalize(self, status: str) -> None:
        self.driver.send(("finalize", status))


def resolved(cfg: DictConfig) -> DictConfig:
    """The configuration without interpolations, which another process could not resolve."""
    config = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert isinstance(config, DictConfig)
    return config


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
