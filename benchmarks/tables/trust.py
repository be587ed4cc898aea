"""The table of campaigns: what was done to service, files and runs, and what came of it."""

from __future__ import annotations

from benchmarks.chaos.campaign import CAMPAIGNS, campaign
from benchmarks.tables.markdown import paragraphs, table
from benchmarks.tables.results import NotMeasuredError, Results, about, device_name


def chaos(results: Results) -> str:
    """All campaigns, by device.

    Raises:
        NotMeasuredError: None was run.
    """
    rows, entries = [], []
    for name in CAMPAIGNS:
        try:
            found = results.of(f"chaos_{name}")
        except NotMeasuredError as error:
            rows.append([f"`{name}`", str(error), "not measured"])
            continue
        for device, entry in found.items():
            entries.append(entry | {"device": device_name(device)})
            of_campaign = campaign(name).rows(entry["figures"])
            rows += [[f"`{name}`", row.what, row.found if row.holds else f"**{row.found}**"] for row in of_campaign]
    if not entries:
        raise NotMeasuredError("there is no `chaos_<campaign>-<device>.json`")
    return paragraphs(table(["campaign", "what was done", "what came of it"], rows, "lll"), about(entries))
