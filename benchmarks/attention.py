"""Attention on a CPU: `recsys.models.attention.layers` beside PyTorch's, forward and backward.

    python -m benchmarks.attention

Milliseconds of both passes, medians, for batches of about 16,000 events, in one thread; in bfloat16 and float32.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from recsys.models.attention.layers import CausalAttention, has_fast_bfloat16

EVENTS = 16_000
SHAPES = ((40, 64), (100, 64), (200, 64), (200, 32), (500, 64))  # events of a window, coordinates of a head
DIM = 128  # of all heads
REPEAT = 9

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def main() -> None:
    torch.set_num_threads(1)
    attend: dict[str, Attend] = {
        "pytorch": lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        "ours": lambda q, k, v: CausalAttention.apply(q, k, v),  # type: ignore[no-untyped-call]
    }
    kinds = [torch.float32, *([torch.bfloat16] if has_fast_bfloat16(torch.device("cpu")) else [])]
    figures = {}
    for kind in kinds:
        for rows, dim in SHAPES:
            found = {name: milliseconds(function, rows, dim, kind) for name, function in attend.items()}
            figures[f"{rows} events, heads of {dim}, {str(kind).removeprefix('torch.')}"] = found
            print(rows, dim, kind, found, flush=True)
    of = provenance("benchmarks.attention", ["torch"])
    write({**of, "figures": figures}, RESULTS / f"attention-{DEVICE}.json")


def milliseconds(function: Attend, rows: int, dim: int, kind: torch.dtype) -> dict[str, float]:
    """Of the two passes."""
    generator = torch.Generator().manual_seed(0)
    shape = EVENTS // rows, DIM // dim, rows, dim
    q, k, v, gradient = (torch.randn(shape, generator=generator).to(kind) for _ in range(4))
    for tensor in (q, k, v):
        tensor.requires_grad_()
    found: dict[str, list[float]] = {"forward": [], "backward": []}
    for _ in range(REPEAT):
        start = time.perf_counter()
        result = function(q, k, v)
        middle = time.perf_counter()
        result.backward(gradient)
        found["forward"].append(middle - start)
        found["backward"].append(time.perf_counter() - middle)
    return {name: round(1000 * statistics.median(seconds), 1) for name, seconds in found.items()}


if __name__ == "__main__":
    main()
