"""The metrics: what each is called, which direction is better, and how it is computed.

Everything that names a metric reads this table: `evaluate`, `metrics.json`, the report and its page, W&B's summaries,
and the selection of epochs and trials. A new metric is one function and one entry here. Nothing heavy is imported, so
that the report starts at once; the functions use only methods of the arrays that they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsys.bundle.typing import Float64Array
    from recsys.evaluation.outcomes import IntervalHits, RankedLists

    Floats = NDArray[np.floating[Any]]

Direction = Literal["min", "max"]
Group = Literal["rating", "ranking", "intervals"]
Display = Literal["column", "option", "hidden"]

Metrics = dict[str, float | None]  # by name; None where there is nothing to measure

SUBSETS = ("", "_warm", "_cold")  # of test rows; the empty suffix is all of them
CASE_SUBSETS = ("", "_warm", "_cold_users", "_cold_items")  # of the targets of a ranking evaluation
TARGETS = ("all", "next", "last")  # what a case is, in a ranking evaluation: see `recsys.evaluation.cases`
PREQUENTIAL = "prequential"  # evaluation, and the prefix of its metrics
TEST_PREFIX: dict[Group, str] = {"rating": "test/", "ranking": "ranking/", "intervals": "test/"}
BASELINES: dict[Group, dict[str, str]] = {  # names in `metrics.json` after "baseline/", and labels
    "rating": {"global_mean": "global mean", "item_mean": "item means", "biases": "biases"},
    "ranking": {"popularity": "popularity"},
    "intervals": {},
}
STRONGEST_BASELINE: dict[Group, str] = {"rating": "biases", "ranking": "popularity"}  # beside the leaderboard


def ranking_prefix(targets: str) -> str:
    """What keys of ranking metrics for these targets begin with."""
    return TEST_PREFIX["ranking"] if targets == "all" else f"ranking_{targets}/"


def popularity_prefix(targets: str) -> str:
    """What keys of the same metrics of the most popular items begin with."""
    return "baseline/popularity_" + ("" if targets == "all" else f"{targets}_")


@dataclass(frozen=True)
class Metric:
    """One metric.

    Args:
        name: In `metrics.json`, after the prefix of its group.
        label: For people.
        direction: Whether lower or higher is better; None where neither is, as for an interval's coverage.
        unit: `stars`, `bits`, or empty for a number without one.
        group: What it measures: predicted ratings, ranked lists or prediction intervals.
        function: From the group's data to the value: rating metrics take the errors in stars, `(rows,)`, ranking
            metrics a `RankedLists`, interval metrics an `IntervalHits`. A ranking metric that is a mean over the lists
            gives the value of each, `(lists,)`: then it also has intervals, and subsets of the cases.
        display: In leaderboards: always a column; only if settings are ranked by it; never.
        monitors: Whether training may select epochs by it, and studies trials.
    """

    name: str
    label: str
    direction: Direction | None
    unit: str
    group: Group
    function: Callable[[Any], float | Floats]
    display: Display = "column"
    monitors: bool = False

    @property
    def validation_key(self) -> str:
        return f"val/{self.name}"

    @property
    def test_key(self) -> str:
        return TEST_PREFIX[self.group] + self.name

    def ranking_key(self, targets: str) -> str:
        """The key in `metrics.json` of a ranking metric for these targets."""
        return self.test_key if targets == "all" else ranking_prefix(targets) + self.name

    @property
    def subsets(self) -> tuple[str, ...]:
        """Subsets of the test rows, or cases, for which it is measured too; the empty suffix is all of them."""
        if self.group == "ranking":
            return CASE_SUBSETS if self.monitors else CASE_SUBSETS[:1]
        return SUBSETS if self.group == "rating" else SUBSETS[:1]

    @property
    def baseline_keys(self) -> dict[str, str]:
        """Keys in `metrics.json` of the same metric of the baselines, by the baselines' names."""
        if self.group == "rating":
            return {name: f"baseline/{name}" for name in BASELINES["rating"]} if self.monitors else {}
        return {name: f"baseline/{name}_{self.name}" for name in BASELINES[self.group]}

    def minimized(self, value: float) -> float:
        """The value such that lower is better."""
        return -value if self.direction == "max" else value


def rmse(error: Float64Array) -> float:
    return float((error**2).mean() ** 0.5)


def mae(error: Float64Array) -> float:
    return float(abs(error).mean())


def recall(lists: RankedLists, k: int) -> Floats:
    """Share of the relevant items that are in the list."""
    found: Floats = lists.hits[:, :k].sum(1) / lists.relevant
    return found


def ndcg(lists: RankedLists, k: int) -> Floats:
    """Gain 1 for a relevant item, discount `1 / log2(1 + rank)`, divided by the best possible."""
    found: Floats = lists.hits[:, :k] @ lists.discount[:k] / lists.best_gain(k)
    return found


def hit_rate(lists: RankedLists, k: int) -> Floats:
    """1 if at least one relevant item is in the list, else 0."""
    return lists.hits[:, :k].any(1).astype("f8")


def reciprocal_rank(lists: RankedLists, k: int) -> Floats:
    """One over the rank of the first relevant item in the list; 0 without one."""
    hits = lists.hits[:, :k]
    found: Floats = hits.any(1) / (1 + hits.argmax(1))
    return found


def average_precision(lists: RankedLists, k: int) -> Floats:
    """Precision at the rank of each relevant item in the list, summed, over `min(relevant items, k)`."""
    hits = lists.hits[:, :k]
    precision = hits.cumsum(1) / lists.ranks[:k]
    found: Floats = (precision * hits).sum(1) / lists.relevant.clip(max=k)
    return found


def coverage(lists: RankedLists, k: int) -> float:
    """Catalogue coverage: share of the catalogue that is in at least one list."""
    return float((lists.recommended(k) > 0).mean())


def novelty(lists: RankedLists, k: int) -> float:
    """Mean self-information of the recommended items: `-log2` of the share of users who have rated the item."""
    count = lists.recommended(k)
    return float(count @ lists.self_information / max(1, count.sum()))


def long_tail(lists: RankedLists, k: int) -> float:
    """Share of the recommended items that are of the long tail.

    That are all items but the most popular ones, by fitted ratings, that have 80% of the ratings together: the "average
    percentage of long-tail items" of Abdollahpouri, Burke & Mobasher (2019), "Managing popularity bias in recommender
    systems with personalized re-ranking", FLAIRS.
    """
    count = lists.recommended(k)
    return float(count[lists.long_tail].sum() / max(1, count.sum()))


def interval_coverage(intervals: IntervalHits, level: float) -> float:
    """Share of the test ratings inside their central prediction intervals of this level."""
    return float(intervals.inside[level].mean())


def mean_std(intervals: IntervalHits) -> float:
    return float(intervals.std.mean())


def _at(function: Callable[..., float | Floats], name: str, label: str, k: int, **more: Any) -> Metric:
    """A metric of the first k places of each list."""
    given: dict[str, Any] = {"direction": "max", "unit": "", "group": "ranking"} | more
    return Metric(f"{name}@{k}", f"{label}@{k}", function=partial(function, k=k), **given)


RMSE = Metric("rmse", "RMSE", "min", "stars", "rating", rmse, monitors=True)
NDCG = _at(ndcg, "ndcg", "NDCG", 10, monitors=True)
METRICS: dict[str, Metric] = {}  # by name, in the order of the leaderboard's columns


def register(*metrics: Metric) -> None:
    """Add metrics to the table.

    Raises:
        ValueError: A name is taken.
    """
    for metric in metrics:
        if metric.name in METRICS:
            raise ValueError(f"metric {metric.name} is registered already")
        METRICS[metric.name] = metric


register(
    RMSE,
    Metric("mae", "MAE", "min", "stars", "rating", mae, display="option"),
    NDCG,
    _at(recall, "recall", "recall", 10),
    _at(hit_rate, "hr", "HR", 10),
    _at(reciprocal_rank, "mrr", "MRR", 10),
    _at(average_precision, "map", "MAP", 10),
    _at(coverage, "coverage", "coverage", 10),
    _at(novelty, "novelty", "novelty", 10, unit="bits"),
    _at(long_tail, "tail", "long tail", 10),
    _at(recall, "recall", "recall", 20, display="hidden"),
    _at(ndcg, "ndcg", "NDCG", 20, display="hidden"),
    _at(hit_rate, "hr", "HR", 20, display="hidden"),
    Metric("inside_50", "50% intervals", None, "", "intervals", partial(interval_coverage, level=0.5), "hidden"),
    Metric("inside_90", "90% intervals", None, "", "intervals", partial(interval_coverage, level=0.9), "hidden"),
    Metric("mean_std", "mean predictive std", None, "stars", "intervals", mean_std, "hidden"),
)


def in_group(group: Group) -> list[Metric]:
    return [metric for metric in METRICS.values() if metric.group == group]


def measure(group: Group, data: Any, names: Iterable[str] | None = None) -> Metrics:
    """Every metric of a group, or those named, by name; None where a value is no finite number."""
    metrics = in_group(group) if names is None else [METRICS[name] for name in names]
    values = {metric.name: metric.function(data) for metric in metrics}
    means = {name: value if isinstance(value, float) else data.mean(value) for name, value in values.items()}
    return {name: value if abs(value) < float("inf") else None for name, value in means.items()}


@dataclass(frozen=True)
class LoggedMetric:
    """A metric of the validation rows or of (a subset of) the test rows, under its key in `metrics.json`."""

    metric: Metric
    validation: bool
    subset: str = ""  # one of the metric's
    targets: str = "all"  # one of TARGETS; of a rating metric PREQUENTIAL: each row after its user's earlier ones

    @property
    def key(self) -> str:
        if self.targets == PREQUENTIAL:
            return f"{PREQUENTIAL}/{self.metric.name}{self.subset}"
        return self.metric.validation_key if self.validation else self.metric.ranking_key(self.targets) + self.subset

    @property
    def _of(self) -> str:
        """What it is of, in words: `warm`, `cold users`, `next items`, `prequential, unseen`."""
        targets = {"all": "", "next": "next items", "last": "last items"}.get(self.targets, self.targets)
        return ", ".join(filter(None, [targets, self.subset.strip("_").replace("_", " ")]))

    @property
    def label(self) -> str:
        """In full: `validation RMSE`, `test RMSE, warm`."""
        of = f", {self._of}" if self._of else ""
        return f"{'validation' if self.validation else 'test'} {self.metric.label}{of}"

    @property
    def short_label(self) -> str:
        """For the head of a column: `val. RMSE`, `test RMSE`, `warm`, `NDCG@10`, `NDCG@10, next items`."""
        if self.validation:
            return f"val. {self.metric.label}"
        if self.metric.group == "ranking":
            return ", ".join(filter(None, [self.metric.label, self._of]))
        return self._of or (f"test {self.metric.label}" if self.metric.group == "rating" else self.metric.label)

    @property
    def alias(self) -> str | None:
        """A short name of a test metric, for the page's filter: `warm`, `mae`, `ndcg@10`, `ndcg@10_next`."""
        if self.validation:
            return None
        if self.metric.group == "ranking":
            return f"{self.metric.name}{'' if self.targets == 'all' else '_' + self.targets}{self.subset}"
        if self.targets == PREQUENTIAL:
            return self.targets + self.subset
        return self.subset.strip("_") or self.metric.name

    @property
    def display(self) -> Display:
        if self.targets == PREQUENTIAL:
            return "column"
        if self.targets != "all" and (self.subset or not self.metric.monitors):
            return "hidden"
        if self.subset:
            return "hidden" if not self.metric.monitors else "option" if self.metric.group == "ranking" else "column"
        return self.metric.display

    @property
    def is_primary(self) -> bool:
        """Whether it is a monitor or its test value, also prequential: a leaderboard always has room for it."""
        return self.metric.monitors and not self.subset and self.targets in ("all", PREQUENTIAL)


def logged_metrics() -> dict[str, LoggedMetric]:
    """All keys of registered metrics in `metrics.json`, in the order of the leaderboard's columns."""
    logged: list[LoggedMetric] = []
    for metric in METRICS.values():
        if metric.group == "rating" or metric.monitors:
            logged.append(LoggedMetric(metric, validation=True))
        logged.append(LoggedMetric(metric, validation=False))
    logged += [LoggedMetric(RMSE, False, subset, PREQUENTIAL) for subset in ("", "_unseen")]
    for metric in (*in_group("rating"), *in_group("ranking")):
        logged += [LoggedMetric(metric, validation=False, subset=subset) for subset in metric.subsets[1:]]
    for targets in TARGETS[1:]:
        for metric in in_group("ranking"):
            logged += [LoggedMetric(metric, False, subset, targets) for subset in metric.subsets]
    groups: list[Group] = ["rating", "ranking", "intervals"]
    logged.sort(key=lambda one: groups.index(one.metric.group))
    return {one.key: one for one in logged}


def reported_metrics() -> dict[str, LoggedMetric]:
    """Those that a report shows or offers to rank by."""
    logged = logged_metrics().items()
    return {key: one for key, one in logged if one.display != "hidden" and (one.metric.monitors or not one.validation)}


def summary_directions() -> dict[str, Direction]:
    """How a tracker summarises each metric over the epochs: by its lowest or its highest value."""
    directions = {key: one.metric.direction for key, one in logged_metrics().items() if not one.subset}
    return {key: direction for key, direction in directions.items() if direction is not None}


def minimized(key: str, value: float) -> float:
    """The value of a key in `metrics.json` such that lower is better; of an unknown key, the value itself."""
    one = logged_metrics().get(key)
    return one.metric.minimized(value) if one else value


def monitor_of(metrics: Mapping[str, Any]) -> Metric:
    """The metric that selected a run's epochs, from the keys that the run logged; RMSE where none tells."""
    monitors = [metric for metric in METRICS.values() if metric.monitors]
    return next((metric for metric in reversed(monitors) if metric.validation_key in metrics), RMSE)


def minimized_validation(metrics: Mapping[str, Any]) -> float:
    """A run's validation metric such that lower is better: what a study minimises."""
    monitor = monitor_of(metrics)
    return monitor.minimized(float(metrics[monitor.validation_key]))
