"""What is promised of a replay, and whether its figures hold it."""

from __future__ import annotations

from typing import Any, NamedTuple

ROUNDING = 2e-5  # stars by which answers may differ from the library's: float32 summed in another order
NEAR = 5e-4  # stars by which updates may be worse than full refits
NEAR_UNSEEN_ITEMS = 4e-3  # the same, of items that were withheld from the first fit
GAIN_UNSEEN_ITEMS = 0.01  # stars by which updates must be better than users folded in alone, of these items


class Check(NamedTuple):
    """What is promised, what was found, and whether it holds."""

    what: str
    found: str
    holds: bool


def checks(figures: dict[str, Any]) -> list[Check]:
    """All that is promised; of a short replay, which has too few ratings for RMSEs to say much, what is exact."""
    found = [check for stream in figures["streams"] for check in _exact(stream)]
    if figures["data"] != "ml-1m":
        return found
    all_items, withheld = figures["streams"]
    worse = {name: max(values) for name, values in all_items["worse_than_refits"]["updated"].items()}
    unseen = {name: one["rmse_unseen_items"] for name, one in withheld["policies"].items()}
    behind, gain = unseen["updated"] - unseen["full"], unseen["folded"] - unseen["updated"]
    return [
        *found,
        Check(
            "updates, RMSE above that of full refits, the most after any step: all, unseen users",
            ", ".join(f"{value:+.5f}" for value in worse.values()),
            max(worse.values()) <= NEAR,
        ),
        Check("a tenth of the items withheld, RMSE of unseen items: updates above full refits", f"{behind:+.4f}",
              behind <= NEAR_UNSEEN_ITEMS),
        Check("the same: updates below users folded in alone", f"{gain:.4f}", gain >= GAIN_UNSEEN_ITEMS),
    ]  # fmt: skip


def _exact(stream: dict[str, Any]) -> list[Check]:
    answers, withheld = stream["compared"], " (items withheld)" if stream["withheld"] else ""
    largest = answers["largest_difference"]
    what = f"largest difference of {answers['answers']:,} answers of the service from the library's{withheld}"
    found = [Check(what, f"{largest:.1e} stars", largest <= ROUNDING)]
    if (books := stream.get("bookkeeping")) is not None:
        questions = f"{books['questions']:,} questions"
        found += [
            Check(what, f"{books[key]}", not books[key])
            for what, key in (
                (f"wrong answers of `versions at` to {questions}", "wrong_versions"),
                (f"wrong answers of `versions served` to {questions}", "wrong_answers"),
                (f"traces of {books['forgotten']} people after `recsys forget`", "traces"),
            )
        ]
    return found
