"""From the steps of all policies to the figures of the results file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.replay.plan import POLICIES
from benchmarks.replay.policies import Step, kept, moved_by_refit
from benchmarks.replay.scores import rms_difference
from benchmarks.replay.stream import Stream
from recsys.bundle.typing import Float32Array

Mask = NDArray[np.bool_]


def summary(folder: Path) -> dict[str, Any]:
    """The figures of a stream that all policies were replayed on."""
    stream = Stream.load(folder / "stream.npz")
    steps = {policy: [kept(folder, policy, number) for number in range(stream.steps)] for policy in POLICIES}
    unseen = {"users": stream.unseen_user(), "items": stream.unseen_item()}
    policies = {policy: _figures(stream, found, unseen) for policy, found in steps.items()}
    return {
        "ratings": len(stream.rating) - stream.fitted,
        "fitted_ratings": stream.fitted,
        "days": round(float(stream.timestamp[-1] - stream.timestamp[stream.fitted]) / 86_400, 1),
        "share_unseen": {name: round(float(mask.mean()), 4) for name, mask in unseen.items()},
        "unseen_items": len(np.setdiff1d(stream.item_id[stream.fitted :], stream.item_id[: stream.fitted])),
        "policies": policies,
        "worse_than_refits": {policy: _worse(policies[policy], policies["full"]) for policy in ("updated", "warm")},
        "distance_to_refits": [
            rms_difference(updated.pairs, full.pairs)
            for updated, full in zip(steps["updated"], steps["full"], strict=True)
        ],
        "moved_by_refits": [moved_by_refit(folder, number) for number in range(1, stream.steps)],
    }


def _figures(stream: Stream, steps: list[Step], unseen: dict[str, Mask]) -> dict[str, Any]:
    masks = {"rmse": np.ones(len(unseen["users"]), bool)} | {
        f"rmse_unseen_{name}": mask for name, mask in unseen.items()
    }
    errors = _squares(stream, [step.scores.predicted for step in steps])
    ends = (stream.bounds[1:] - stream.fitted).tolist()
    return {
        **{name: root_mean(errors[mask]) for name, mask in masks.items()},
        "rmse_ahead": root_mean(_squares(stream, [step.scores.ahead for step in steps])),
        "ndcg@10": round(float(np.mean([step.scores.ndcg for step in steps])), 5),
        "cpu_seconds": round(sum(step.cpu_seconds for step in steps), 1),
        "wall_seconds": round(sum(step.wall_seconds for step in steps), 1),
        "left_out_of_user": round(float(np.concatenate([step.scores.user_age for step in steps]).mean()), 2),
        "left_out_of_item": round(float(np.concatenate([step.scores.item_age for step in steps]).mean()), 2),
        "so_far": {name: [root_mean(errors[:end][mask[:end]]) for end in ends] for name, mask in masks.items()},
        "by_step": {
            "rmse": [root_mean(part) for part in np.split(errors, ends[:-1])],
            "ndcg@10": [round(step.scores.ndcg, 5) for step in steps],
            "cpu_seconds": [round(step.cpu_seconds, 2) for step in steps],
        },
    }


def _worse(policy: dict[str, Any], refits: dict[str, Any]) -> dict[str, list[float]]:
    """By how much the RMSE of all that has come is above that of full refits, at the end of each step."""
    return {
        name: [
            round(own - full, 5)
            for own, full in zip(policy["so_far"][key], refits["so_far"][key], strict=True)
            if own is not None
        ]
        for name, key in (("all", "rmse"), ("unseen_users", "rmse_unseen_users"))
    }


def _squares(stream: Stream, predicted: list[Float32Array]) -> NDArray[np.float64]:
    """Squared errors of the arriving ratings, `(arriving,)`."""
    return np.square(np.concatenate(predicted, dtype=np.float64) - stream.rating[stream.fitted :])


def root_mean(squares: NDArray[np.float64]) -> float | None:
    """RMSE; None without ratings."""
    return round(float(np.sqrt(squares.mean())), 5) if len(squares) else None
