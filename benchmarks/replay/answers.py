"""Answers of the service in the middle of a step, and what the library says of the same ratings."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from benchmarks.load.service import Client
from benchmarks.replay.scores import folded, rows_of, with_stream
from benchmarks.replay.stream import Stream
from recsys.bundle import Bundle

TOP = 10  # items of a list


class Answer(NamedTuple):
    """What the service said to one person: the items that it recommended, and one predicted rating."""

    seconds: int  # unix time; all events until then were received earlier, all others later
    version: str  # as the service names it
    user_id: int
    items: list[str]  # best first
    scores: list[float]
    item_id: int  # that they rated next
    stars: float | None  # that were predicted; None if the version does not know the item


def ask(client: Client, stream: Stream, coming: slice, users: int) -> list[Answer]:
    """Ask for those who come next, in seconds of their own, so that these tell which events were known."""
    _, first = np.unique(stream.user_id[coming], return_index=True)
    rows = (coming.start + np.sort(first)[:users]).tolist()
    _next_second()
    pairs = [{"user_id": str(stream.user_id[row]), "item_id": str(stream.item_id[row])} for row in rows]
    predictions = _answered(*client.post("/predict/ratings/", {"pairs": pairs}))["predictions"]
    found = []
    for row, prediction in zip(rows, predictions, strict=True):
        user = int(stream.user_id[row])
        answer = _answered(*client.get(f"/users/{user}/recommendations?k={TOP}"))
        listed = answer["recommendations"]
        found.append(
            Answer(
                int(time.time()),
                answer["model_version"],
                user,
                [one["item_id"] for one in listed],
                [one["score"] for one in listed],
                int(stream.item_id[row]),
                prediction["rating"],
            )
        )
    _next_second()
    return found


def compared(stream: Stream, bundle: Bundle, cut: int, stop: int, answers: list[Answer]) -> list[float]:
    """By how many stars each answer differs at most from the library's; infinitely if it lists other items.

    Args:
        stream: The ratings.
        bundle: Of the version that answered.
        cut: How many ratings that was made of.
        stop: How many had arrived.
        answers: Of the service.
    """
    everything = with_stream(bundle, stream, slice(stop, stop))
    users = rows_of(everything.user_ids, np.array([answer.user_id for answer in answers]))
    has_new = np.isin([answer.user_id for answer in answers], stream.user_id[cut:stop])
    differences = []
    for user, is_live, answer in zip(users.tolist(), has_new.tolist(), answers, strict=True):
        vector = folded(everything, user) if is_live else bundle.vector(user)
        item = bundle.item_row.get(answer.item_id, -1)
        stars = bundle.predictions_for(vector, np.array([item])).mean
        difference = abs(float(stars[0]) - answer.stars) if answer.stars is not None and item >= 0 else 0.0
        rows, scores = everything.top_n(vector, TOP, seen=everything.seen(user))
        listed = [bundle.item_row.get(int(one), -1) for one in answer.items]
        is_fitted = [
            0 <= row < bundle.n_items for row in listed
        ]  # others are new to the version: it has no row of them
        own = [row for row, fitted in zip(listed, is_fitted, strict=True) if fitted]
        same = [score for score, fitted in zip(answer.scores, is_fitted, strict=True) if fitted]
        if own == rows[: len(own)].tolist():
            difference = max([difference, *np.abs(scores[: len(own)] - same).tolist()])
        else:
            difference = float("inf")
        differences.append(difference)
    return differences


def _answered(status: int, answer: dict) -> dict:
    if status != 200:
        raise SystemExit(f"error: the service did not answer: {status} {answer}")
    return answer


def _next_second() -> None:
    """Wait for the next whole second of unix time."""
    now = time.time()
    time.sleep(int(now) + 1.01 - now)
