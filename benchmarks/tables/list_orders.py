"""What `benchmarks/list_orders.py` measured."""

from __future__ import annotations

from benchmarks.list_orders import FIGURES
from benchmarks.tables.markdown import by_device, paragraphs, table
from benchmarks.tables.results import Entry, Results, about

NAMES = {"ndcg@10": "NDCG@10", "hr@10": "HR@10", "recall@10": "recall@10", "coverage@10": "coverage",
         "tail@10": "long tail"}  # fmt: skip


def list_orders(results: Results) -> str:
    """Metrics of lists by what they are ordered by, and the cost of a request."""
    return by_device(results, "list_orders", _list_orders)


def _list_orders(rows: list[Entry]) -> str:
    [row] = rows
    default = f"mf by {row['default']}"
    cells = [
        [f"{name} (default)" if name == default else name, *(f"{found[figure]:.4f}" for figure in FIGURES)]
        for name, found in row["lists"].items()
    ]
    cost = row["microseconds"]
    sentence = (
        f"A request for a top 10 of `mf` takes {cost['default']:.0f} µs of CPU in the default order and "
        f"{cost['stars']:.0f} µs by stars: {cost['stars'] / cost['default']:.2f} of the requests per second."
    )
    return paragraphs(table(["lists", *NAMES.values()], cells, "l" + "r" * len(FIGURES)), sentence, about(rows))
