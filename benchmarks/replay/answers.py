"""Answers of the service in the middle of a step, and what the library says of the same ratings."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.load.service import Client
from benchmarks.replay.scores import folded, rows_of, with_stream
from benchmarks.replay.stream import Stream
from recsys.bundle import Bundle
from recsys.bundle.factors import UserVector

TOP = 10  # items of a list
SETTLE_SECONDS = 2.0  # in which a service gives new items their rows


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
    time.sleep(SETTLE_SECONDS)
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

    Items that the version was not fitted on get rows of their own in a service, some time after their first event.
    What these change is left out: whoever has rated one, and such items in lists.

    Args:
        stream: The ratings.
        bundle: Of the version that answered.
        cut: How many ratings that was made of.
        stop: How many had arrived.
        answers: Of the service.
    """
    everything = with_stream(bundle, stream, slice(stop, stop))
    users = rows_of(everything.user_ids, np.array([answer.user_id for answer in answers], np.int64))
    is_live = np.isin([answer.user_id for answer in answers], stream.user_id[cut:stop])
    found = []
    for user, has_new, answer in zip(users.tolist(), is_live.tolist(), answers, strict=True):
        if (everything.seen(user) < bundle.n_items).all():
            vector = folded(everything, user) if has_new else bundle.vector(user)
            found.append(_difference(everything, vector, user, answer))
    return found


def _difference(bundle: Bundle, vector: UserVector, user: int, answer: Answer) -> float:
    difference = 0.0
    item = bundle.item_row.get(answer.item_id, -1)
    if 0 <= item < bundle.n_items and answer.stars is not None:
        difference = abs(float(bundle.predictions_for(vector, np.array([item])).mean[0]) - answer.stars)
    rows, scores = bundle.top_n(vector, TOP, seen=bundle.seen(user))
    served = [
        (bundle.item_row.get(int(one), -1), score) for one, score in zip(answer.items, answer.scores, strict=True)
    ]
    fitted = [(row, score) for row, score in served if 0 <= row < bundle.n_items]
    n = len(fitted)
    if len(served) < len(rows) or [row for row, _ in fitted] != rows[:n].tolist():
        return float("inf")
    return max([difference, *(abs(score - own) for (_, score), own in zip(fitted, scores[:n].tolist(), strict=True))])


def _answered(status: int, answer: dict[str, Any]) -> dict[str, Any]:
    if status != 200:
        raise SystemExit(f"error: the service did not answer: {status} {answer}")
    return answer


def _next_second() -> None:
    """Wait for the next whole second of unix time."""
    now = time.time()
    time.sleep(int(now) + 1.01 - now)
