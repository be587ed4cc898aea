from __future__ import annotations

import numpy as np

from recsys.data.inspection.picture import bars, over_time
from tests.data.inspection.test_statistics import figures


def test_bars_show_shares_and_fit_the_width() -> None:
    lines = bars(figures([1, 1, 1, 1, 2, 2, 5, 5]), 30)
    assert lines == [f"1  {'█' * 21} 50.0%", f"2  {'█' * 10}▌ 25.0%", f"5  {'█' * 10}▌ 25.0%"]
    assert max(map(len, lines)) <= 30
    assert bars(figures([1, 2]), 30, ascii_only=True)[0] == f"1  {'#' * 21} 50.0%"


def test_ranges_are_named_by_where_they_begin() -> None:
    lines = bars(figures(np.linspace(-10, 10, 101).tolist()), 40)
    assert lines[0].startswith("from -10  █")
    assert len(lines) == 10


def test_a_block_for_each_period() -> None:
    assert over_time(np.array([1, 4, 0, 8]), 10) == "▁▄ █"
    assert over_time(np.array([1, 4, 0, 8]), 2) == "▅█"
    assert over_time(np.array([1, 4, 0, 8]), 10, ascii_only=True) == ".= #"
