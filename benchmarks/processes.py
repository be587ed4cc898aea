"""What it costs two processes to share a sweep: `python -m benchmarks.processes [--repeats 3] [--only als]`.

Made-up ratings of ML-25M's shape, dim 32, ids alone, one thread a process. In each round, two processes that share the
ratings (`trainer.devices=2`) are timed, and then two that know nothing of each other, at the same moment, with the
ratings of half of the users each. The ratio of a sweep's times is what sharing costs; twice as fast as one would be 1.
Their results are compared with those of one process, bit by bit, on ratings of ML-1M's shape.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.scaling import prepared
from recsys.models.als import ALS
from recsys.models.bayesian.model import BayesianMF
from recsys.models.closed_form import SweepModel
from recsys.models.ials import ImplicitALS

FILE = RESULTS / f"processes-{DEVICE}.json"
DIM, WORLD, SWEEPS = 32, 2, 4  # the first sweep, which groups the ratings, is not counted
MODELS: dict[str, tuple[type[SweepModel], dict[str, Any]]] = {
    "als": (ALS, {}),
    "ials": (ImplicitALS, {}),
    "bayesian_mf, ids": (BayesianMF, {"attributes": False, "implicit": False, "burn_in": 1000}),
}
EQUAL_SWEEPS = {"als": 1, "ials": 1, "bayesian_mf, ids": 50}


class Swept:
    """A model in its sweeps, without a trainer.

    Args:
        name: Of the model.
        file: Ratings, as `saved` writes them.
        half: Which half of the users; None: all of them.
    """

    def __init__(self, name: str, file: Path, half: int | None = None) -> None:
        user, item, rating, n, m = torch.load(file)
        if half is not None:
            middle = int(user[len(user) // 2])
            mine = (user >= middle) if half else (user < middle)
            user, item, rating = user[mine] - half * middle, item[mine], rating[mine]
            n = n - middle if half else middle
        kind, arguments = MODELS[name]

        class Later(kind):  # type: ignore[misc, valid-type]
            """Past the first sweep, in which priors are not drawn yet."""

            current_epoch: ClassVar[int] = 1

        self.model: Any = Later(n, m, 0.5, 5.0, embedding_dim=DIM, **arguments)
        known = None if kind is ImplicitALS else self.model.stars(rating)
        self.sides = self.model.sides_of(user, item, known)

    @torch.no_grad()
    def sweep(self) -> Tensor:
        loss: Tensor = self.model.sweep(*self.sides)
        return loss


def saved(shape: str, folder: Path) -> Path:
    """A file of the ratings, sorted by user."""
    data = prepared(shape)
    torch.save((*data.fit_data.columns, len(data.users), len(data.items)), folder / f"{shape}.pt")
    return folder / f"{shape}.pt"


def join(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)


def timed(rank: int, name: str, file: Path, folder: Path, shared: bool) -> None:
    """Seconds of each sweep of a process, into a file of the folder; apart, processes only wait for each other."""
    torch.set_num_threads(1)
    if shared:
        join(rank, folder)
        swept = Swept(name, file)
    else:
        swept = Swept(name, file, rank)
    swept.sweep()
    if not shared:  # the start of the counted sweeps is the same moment
        join(rank, folder)
    dist.barrier()
    seconds = []
    for _ in range(SWEEPS):
        start = time.perf_counter()
        swept.sweep()
        seconds.append(time.perf_counter() - start)
    torch.save(seconds, folder / f"{rank}.pt")
    dist.barrier()


def equal(rank: int, name: str, file: Path, folder: Path, _: bool) -> None:
    """The rows after some sweeps, into a file of the folder."""
    join(rank, folder)
    torch.save(rows_of(name, file), folder / f"{rank}.pt")
    dist.barrier()


def rows_of(name: str, file: Path) -> Tensor:
    swept = Swept(name, file)
    for _ in range(EQUAL_SWEEPS[name]):
        swept.sweep()
    return torch.cat([swept.model.user_rows, swept.model.item_rows]).detach()


def together(work: Callable[..., None], *arguments: Any) -> list[Any]:
    """What each of the processes writes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context = multiprocessing.get_context("spawn")
        before, shared = arguments[:-1], arguments[-1]
        processes = [context.Process(target=work, args=(k, *before, folder, shared)) for k in range(WORLD)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            raise SystemExit("error: a process failed")
        return [torch.load(folder / f"{k}.pt") for k in range(WORLD)]


def compared(name: str, large: Path, small: Path, repeats: int) -> dict[str, Any]:
    """Seconds of a sweep, shared and apart, in turns, and whether two processes find what one finds."""
    found: dict[str, list[float]] = {"shared": [], "apart": []}
    for _ in range(repeats):
        for kind in found:
            of_processes = together(timed, name, large, kind == "shared")
            found[kind].append(max(statistics.median(seconds) for seconds in of_processes))
    ratios = [one / other for one, other in zip(found["shared"], found["apart"], strict=True)]
    torch.set_num_threads(1)
    alone, shared = rows_of(name, small), together(equal, name, small, True)
    difference = max(float((rows - alone).abs().max()) for rows in shared)
    seconds = {kind: [round(value, 3) for value in values] for kind, values in found.items()}
    return {
        "ratio": round(statistics.median(ratios), 3), "seconds": seconds,
        "sweeps_compared": EQUAL_SWEEPS[name], "largest_difference": difference,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(MODELS), default=list(MODELS))
    arguments = parser.parse_args()
    result: dict[str, Any] = {"models": {}, "embedding_dim": DIM, "processes": WORLD, "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as name:
        large, small = (saved(shape, Path(name)) for shape in ("ml-25m", "ml-1m"))
        result["ratings"] = len(torch.load(large)[0])
        for model in arguments.only:
            result["models"][model] = compared(model, large, small, arguments.repeats)
            print(model, result["models"][model], flush=True)
            write(result | provenance("benchmarks.processes", sys.argv[1:]), FILE)


if __name__ == "__main__":
    main()
