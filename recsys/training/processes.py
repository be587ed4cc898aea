"""Start the processes of a fit on this machine, one for each device, and watch them.

Data are read, models evaluated and bundles written by the process that starts them: they fit, and the first of them
writes checkpoints. Loggers stay with the one that starts them, and are told the metrics that the first one logs.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
import torch.distributed as dist
from lightning.pytorch.loggers import Logger

from recsys.progress import tolerate_closed_output
from recsys.training.parent import exit_with_parent, handled
from recsys.training.threads import choose_threads

T = TypeVar("T")
Work = Callable[[Any, Any, list[Logger]], T]
Connection = connection.Connection
SECONDS = 5.0  # that processes have to end


def in_processes(work: Work[T], job: Any, data: Any, loggers: Sequence[Logger], world: int) -> T:
    """Call `work(job, data, loggers)` in so many processes of one process group. Returns what the first one returns.

    Args:
        work: A function of a module.
        job: Its first argument, with a configuration `cfg`; it is pickled, and so are the data.
        data: Its second argument.
        loggers: Where the first process logs to.
        world: Number of processes.

    Raises:
        ChildProcessError: A process was killed, or ended without a word.
        KeyboardInterrupt: At Ctrl-C or SIGTERM.
        Exception: What `work` raises in any of them.
    """
    context = multiprocessing.get_context("spawn")  # neither CUDA nor OpenMP survives a fork
    processes, watched = list[BaseProcess](), dict[Connection, int]()
    names = [_LoggerNames(logger.name, logger.version, logger.save_dir) for logger in loggers[:1]]
    # SIGTERM is as Ctrl-C, as in a fit of one process.
    with tempfile.TemporaryDirectory(prefix="recsys-") as name, handled(signal.SIGTERM, _interrupt):
        folder = Path(name)
        with (folder / "job").open("wb") as file:
            pickle.dump((work, job, data, names), file, pickle.HIGHEST_PROTOCOL)
        try:
            for rank in range(world):
                ours, theirs = context.Pipe()
                process: BaseProcess = context.Process(target=_run, args=(theirs, rank, world, folder), daemon=True)
                with handled(signal.SIGINT, signal.SIG_IGN):  # Ctrl-C reaches this process, which ends the others
                    process.start()
                theirs.close()  # so that reading from a dead process raises EOFError
                processes.append(process)
                watched[ours] = rank
            return cast(T, _watch(watched, processes, loggers))
        finally:
            _end(processes)


def _watch(watched: dict[Connection, int], processes: Sequence[BaseProcess], loggers: Sequence[Logger]) -> Any:
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
                raise _lost(rank, processes) from (errors[0] if errors else None)
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


def _lost(rank: int, processes: Sequence[BaseProcess]) -> ChildProcessError:
    process = processes[rank]
    process.join(SECONDS)
    code = process.exitcode or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    return ChildProcessError(
        f"process {rank + 1} of {len(processes)} {how} before the fit was done: "
        "resume=<run folder> goes on from its last checkpoint"
    )


def _end(processes: Sequence[BaseProcess]) -> None:
    """End what still runs, within a few seconds."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        process.kill()
        process.join()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _run(driver: Connection, rank: int, world: int, folder: Path) -> None:
    """The life of a process."""
    from recsys.training.trainer import quiet_libraries

    exit_with_parent()
    tolerate_closed_output()
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(world)}
    if sys.platform != "win32":  # nobody from elsewhere takes part
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    logging.getLogger().handlers = [_Sent(driver)] if rank == 0 else [logging.NullHandler()]
    logging.getLogger().setLevel(logging.INFO)
    quiet_libraries(rank)
    try:
        with (folder / "job").open("rb") as file:
            work, job, data, names = pickle.load(file)
        torch.set_num_threads(choose_threads(job.cfg.get("threads")))
        on_gpu = torch.cuda.is_available() and job.cfg.trainer.get("accelerator") != "cpu"
        backend = "nccl" if on_gpu else "gloo"
        dist.init_process_group(backend, f"file://{folder}/rendezvous", rank=rank, world_size=world)
        found = work(job, data, [_SentMetrics(driver if rank == 0 else None, one) for one in names])
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


class _LoggerNames(NamedTuple):
    """By what Lightning chooses folders."""

    name: str | None
    version: int | str | None
    save_dir: str | None


class _SentMetrics(Logger):
    """Sends metrics to the process that started this one, for all of its loggers; None: nowhere."""

    def __init__(self, driver: Connection | None, names: _LoggerNames) -> None:
        super().__init__()
        self.driver, self.names = driver, names

    @property
    def name(self) -> str | None:
        return self.names.name

    @property
    def version(self) -> int | str | None:
        return self.names.version

    @property
    def save_dir(self) -> str | None:
        return self.names.save_dir

    def _send(self, *message: Any) -> None:
        if self.driver is not None:
            self.driver.send(message)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: they are in `config.yaml`, and trackers have them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._send("log_metrics", dict(metrics), step)

    def save(self) -> None:
        self._send("save")

    def finalize(self, status: str) -> None:
        self._send("finalize", status)
