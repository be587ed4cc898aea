from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.data.columns import ITEM_ID, RATING, USER_ID
from recsys.data.rating_data import RatingData
from recsys.data.sources.files import FileSource


class Lines(FileSource):
    """One user a line, who gave item 1 these stars."""

    name = "lines"
    parsed = 0

    def __init__(self, root: str, factor: float = 1.0) -> None:
        self.root, self.factor = Path(root), factor

    def prepare(self) -> None: ...

    def files(self) -> list[Path]:
        return [self.root / "stars.txt"]

    def parse(self) -> RatingData:
        type(self).parsed += 1
        stars = [float(line) * self.factor for line in (self.root / "stars.txt").read_text().split()]
        frame = pd.DataFrame({USER_ID: range(len(stars)), ITEM_ID: 1, RATING: np.float32(stars)})
        return RatingData(self.name, frame, 0.0, 50.0)


def test_it_is_parsed_again_where_a_file_or_an_argument_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Lines, "parsed", 0)
    file = tmp_path / "stars.txt"
    file.write_text("1 2")
    first = Lines(str(tmp_path)).read()
    again = Lines(str(tmp_path)).read()
    assert (Lines.parsed, again.sha256) == (1, first.sha256)
    assert Lines(str(tmp_path), factor=2.0).read().ratings[RATING].tolist() == [2, 4]
    file.write_text("3 4")
    assert Lines(str(tmp_path)).read().ratings[RATING].tolist() == [3, 4]
    assert Lines.parsed == 3
