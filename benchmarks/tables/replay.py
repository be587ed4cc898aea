"""What `benchmarks/replay` measured."""

from __future__ import annotations

from benchmarks.replay.checks import checks
from benchmarks.replay.plan import POLICIES
from benchmarks.tables.markdown import by_device, paragraphs, seconds, stars, table, times
from benchmarks.tables.results import Entry, Results, about

ALT = "RMSE of five policies while ratings arrive, for all ratings and for items withheld from the first fit, and cost"


def replay(results: Results) -> str:
    """Five policies on a stream of ratings, what each costs, and what is promised of it."""
    return by_device(results, "replay", _replay)


def _replay(found: Entry) -> str:
    tables = [_policies(stream) for stream in found["streams"]]
    return paragraphs(f"![{ALT}](replay.png)", *tables, _steps(found["streams"][0]), _checks(found), about([found]))


def _policies(stream: Entry) -> str:
    header = ["policy", "RMSE", "unseen users", "unseen items", "whole step ahead", "NDCG@10", "CPU seconds",
              "ratings left out: own, the item's"]  # fmt: skip
    policies = stream["policies"]
    rows = [[POLICIES[name], *_cells(policies[name])] for name in POLICIES]
    unseen = stream["share_unseen"]
    withheld = (
        f"A tenth of the items withheld from the first fit: {stream['unseen_items']:,} unseen items have "
        f"{unseen['items']:.1%} of the ratings."
        if stream["withheld"]
        else f"{stream['ratings']:,} ratings of {stream['days']:,.0f} days after {stream['fitted_ratings']:,} fitted "
        f"ones; unseen users have {unseen['users']:.1%} of them, {stream['unseen_items']} unseen items "
        f"{unseen['items']:.2%}."
    )
    return paragraphs(withheld, table(header, rows, "lrrrrrrr"))


def _cells(policy: Entry) -> list[str]:
    return [
        *(stars(policy[name]) for name in ("rmse", "rmse_unseen_users", "rmse_unseen_items", "rmse_ahead")),
        f"{policy['ndcg@10']:.4f}",
        seconds(policy["cpu_seconds"]) if policy["cpu_seconds"] else "–",
        f"{policy['left_out_of_user']:.1f}, {policy['left_out_of_item']:.1f}",
    ]


def _steps(stream: Entry) -> str:
    """Updates beside full refits, step by step: what they predict, how far they are apart, and what they cost."""
    updated, full = (stream["policies"][name] for name in ("updated", "full"))
    header = ["step", "RMSE of updates", "of full refits", "apart, stars", "moved by a refit", "estimated", "error",
              "CPU seconds", "of full refits"]  # fmt: skip
    rows = []
    for number, (update, moved) in enumerate(zip(stream["updates"], stream["moved_by_refits"], strict=True), 1):
        cost = [one["by_step"]["cpu_seconds"][number] for one in (updated, full)]
        rows.append([
            f"{number + 1}", *(stars(one["by_step"]["rmse"][number]) for one in (updated, full)),
            stars(stream["distance_to_refits"][number]), stars(moved), stars(update["distance"]),
            f"{update['distance'] - moved:+.4f}", *map(seconds, cost),
        ])  # fmt: skip
    return paragraphs(
        "Each step's ratings, predicted after the update and after the full refit before it; by how many stars (RMS of "
        "10,000 pairs) the two versions are apart; by how many a refit that goes on from the update moves its "
        "predictions, what the update estimated of that, and its error:",
        table(header, rows, "r" * len(header)),
    )


def _checks(found: Entry) -> str:
    first = found["streams"][0]
    policies, updates = first["policies"], first["updates"]
    cost = policies["full"]["cpu_seconds"] / policies["updated"]["cpu_seconds"]
    served = sorted(update["served_after"] for update in updates)
    passed = sum(update["promoted"] for update in updates)
    rows = [[check.what, check.found if check.holds else f"**{check.found}**"] for check in checks(found)]
    rows += [
        ["processor time of full refits to that of updates", times(cost)],
        ["from the last acknowledged event of a step to a version with it being served: median; longest",
         f"{seconds(served[len(served) // 2])} s; {seconds(served[-1])} s"],
        ["updates that the gate let pass", f"{passed} of {len(updates)}"],
        ["events acknowledged a second, one client, 1,000 a request", f"{first['events_per_second']:,}"],
    ]  # fmt: skip
    return table(["what", "found"], rows, "ll")
