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
    of = f"{stream['withheld']:.0%} of the items withheld"
    answers = stream["compared"]
    found = [
        Check(f"{of}: largest difference of {answers['answers']:,} answers from the library's",
              f"{answers['largest_difference']:.1e} stars", answers["largest_difference"] <= ROUNDING)
    ]  # fmt: skip
    if (books := stream.get("bookkeeping")) is not None:
        found += [
            Check(f"{of}: wrong answers of `{name}` to {books['questions']:,} questions", f"{books[key]}", not books[key])
            for name, key in (("versions at", "wrong_versions"), ("versions served", "wrong_answers"))
        ]  # fmt: skip
        found.append(
            Check(f"{of}: traces of {books['forgotten']} forgotten users", f"{books['traces']}", not books["traces"])
        )
    return found
