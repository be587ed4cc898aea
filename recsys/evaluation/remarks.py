"""What a result alone does not say: sentences for beside it, from the content of `metrics.json`.

They are printed by `train`, `evaluate` and the report, which derive them anew, so old runs have them too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from recsys.evaluation.registry import BASELINES, NDCG, RMSE

SAME = 1e-4  # relative difference from a baseline that is none
LATE = 0.75  # share of its epochs after which pruning a trial saves little
FEWEST_LATE = 3  # such trials


def remarks(metrics: Mapping[str, Any], model: Mapping[str, Any] | None = None) -> list[str]:
    """Sentences about a result that is worth less than it looks, or about why it is bad; most results have none.

    Args:
        metrics: By their keys in `metrics.json`, of one run or averaged over several.
        model: Arguments of the model, for what is known of its kind.
    """
    found = [
        _short_chain(metrics.get("epochs"), model or {}),
        _cold(metrics),
        _worse_than_baseline(metrics),
        _worse_than_running_biases(metrics),
        _worse_than_popularity(metrics),
    ]
    return [sentence for sentence in found if sentence is not None]


def late_pruning(late: int, trials: int) -> str | None:
    """A sentence about a study whose pruner ends trials when they have spent their epochs; None about others.

    Args:
        late: Trials pruned after at least `LATE` of their epochs.
        trials: All trials that have ended.
    """
    if late < FEWEST_LATE or 2 * late <= trials:
        return None
    return (
        f"{late} of {trials} trials were pruned at the end of their epochs, which saved little and lost their results: "
        "raise trainer.max_epochs or set hydra.sweeper.pruner=none, in a new study"
    )


def _short_chain(epochs: Any, model: Mapping[str, Any]) -> str | None:
    """Of a sampler: whether its chain keeps no sample, so that the last draw is all that predicts."""
    if "burn_in" not in model or not isinstance(epochs, int | float):
        return None
    sweeps, thin = round(epochs), model.get("thin") or 1
    burn_in = sweeps // 5 if model["burn_in"] is None else model["burn_in"]  # as the model has it in a short chain
    if sweeps - burn_in >= thin:
        return None
    if sweeps <= burn_in:
        return (
            f"the chain of {sweeps} sweeps ends within its burn-in (model.burn_in={burn_in}), so the predictions are "
            "of its last draw alone: raise trainer.max_epochs, or leave model.burn_in at null"
        )
    return (
        f"the chain of {sweeps} sweeps keeps no sample (model.thin={thin} after a burn-in of {burn_in}), so the "
        "predictions are of its last draw alone: raise trainer.max_epochs, or lower model.thin"
    )


def _cold(metrics: Mapping[str, Any]) -> str | None:
    share = metrics.get("test/share_cold")
    if share is None or share < 1.0 or metrics.get("split") == "held_out_users":  # who are folded in
        return None
    return (
        "all test rows are cold: the user or the item of each has no rating that the model was fitted on, so it is "
        "tested on what it cannot have learned; see data.split"
    )


def _worse_than_baseline(metrics: Mapping[str, Any]) -> str | None:
    """Names the simplest of the baselines that are better."""
    error = metrics.get(RMSE.test_key)
    for name, label in BASELINES["rating"].items():
        baseline = metrics.get(f"baseline/{name}")
        if _is_worse(error, baseline):
            hint = "" if metrics.get("model") == "biases" else "; tune it (hparams_search=optuna)"
            biases = metrics.get("baseline/biases")
            if hint and biases is not None and biases <= baseline:
                hint += " or take model=biases"
            return f"the model is worse than a baseline, {label}: test RMSE {error:.4f}, baseline {baseline:.4f}{hint}"
    return None


def _worse_than_running_biases(metrics: Mapping[str, Any]) -> str | None:
    error, baseline = metrics.get("prequential/rmse"), metrics.get("baseline/running_biases")
    if not _is_worse(error, baseline):
        return None
    return f"the model is worse than running biases: prequential RMSE {error:.4f}, running biases {baseline:.4f}"


def _worse_than_popularity(metrics: Mapping[str, Any]) -> str | None:
    gain, popular = metrics.get(NDCG.test_key), metrics.get(f"baseline/popularity_{NDCG.name}")
    if not _is_worse(popular, gain):
        return None
    what = "; a model of ratings does not rank, model=ials does" if RMSE.test_key in metrics else ""
    return (
        f"the ranking is worse than the most popular items for all: NDCG@10 {gain:.4f}, popularity {popular:.4f}{what}"
    )


def _is_worse(error: Any, than: Any) -> bool:
    """Whether one error is above another by more than rounding; no if one of them is not there."""
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in (error, than)):
        return False
    return bool(error > than * (1 + SAME))
