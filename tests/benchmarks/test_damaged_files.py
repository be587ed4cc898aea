from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.damaged_files import outcome
from recsys.data.readers import lines


def test_no_row_of_a_damaged_file_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", lines.BLOCK)  # changed by `outcome`
    total: Counter[str] = Counter()
    for seed in range(60):
        total.update(outcome(seed, tmp_path))
    assert total["rows lost without a count"] == total["undamaged rows lost"] == 0
    assert total["files"] == 60
    assert total["read (drop)"] > 40
    assert total["refused with a sentence (error)"] > 30
