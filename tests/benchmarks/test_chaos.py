"""Every campaign in its short form."""

from __future__ import annotations

import pytest

from benchmarks.chaos.campaign import CAMPAIGNS, campaign


@pytest.mark.long
@pytest.mark.parametrize("name", CAMPAIGNS)
def test_everything_holds(name: str) -> None:
    one = campaign(name)
    assert [row for row in one.rows(one.run(short=True)) if not row.holds] == []
