"""The process of one solver: `python -m benchmarks.ials_sweep_child JOB.json`. Needs NumPy and its library.

Beside the job are written `seconds.npy`, each sweep's by the clock and of the processor, and the factors after the
sweeps that the job keeps, `<sweep>.npz`. Making the library's input is not timed, what a first sweep prepares is.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Kept = Callable[[int, Any, Any], None]  # sweep, user factors, item factors


def recsys(user: Rows, item: Rows, job: dict[str, Any], after: Kept) -> None:
    import torch

    from recsys.models.ials import ImplicitALS

    torch.set_num_threads(1)
    n, m = int(user.max()) + 1, int(item.max()) + 1
    model = ImplicitALS(
        n, m, embedding_dim=job["dim"], unobserved_weight=1 / job["confidence"],
        reg_lambda=job["regularization"] / job["confidence"], reg_exponent=0.0, seed=job["seed"], **job["settings"],
    )  # fmt: skip
    users, items = torch.from_numpy(user), torch.from_numpy(item)
    after(0, None, None)
    sides = model.sides_of(users, items, None)
    with torch.no_grad():
        for sweep in range(1, job["sweeps"] + 1):
            model.sweep(*sides)
            after(sweep, model.user_rows.numpy(force=True)[:, :-1], model.item_rows.numpy(force=True)[:, :-1])


def implicit(user: Rows, item: Rows, job: dict[str, Any], after: Kept) -> None:
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    model = AlternatingLeastSquares(
        factors=job["dim"], alpha=job["confidence"], regularization=job["regularization"], iterations=job["sweeps"],
        num_threads=1, random_state=job["seed"], **job["settings"],
    )  # fmt: skip
    matrix = csr_matrix((np.ones(len(user), np.float32), (user, item)))
    after(0, None, None)
    model.fit(
        matrix, show_progress=False, callback=lambda sweep, *_: after(sweep + 1, model.user_factors, model.item_factors)
    )


def now() -> NDArray[np.float64]:
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    file = Path(sys.argv[1])
    job = json.loads(file.read_text())
    with np.load(job["rows"]) as rows:
        user, item = rows["user"], rows["item"]
    seconds, started = np.zeros((job["sweeps"], 2)), np.zeros(2)

    def after(sweep: int, users: Any, items: Any) -> None:
        if sweep:
            seconds[sweep - 1] = now() - started
        if sweep in job["keep"]:
            np.savez(file.parent / f"{sweep}.npz", users=users, items=items)
        started[:] = now()

    {"recsys": recsys, "implicit": implicit}[job["library"]](user, item, job, after)
    np.save(file.parent / "seconds.npy", seconds)


if __name__ == "__main__":
    main()
