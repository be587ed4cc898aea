from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recsys.data.download import download
from recsys.data.download import recbole_mirror as wheel
from recsys.data.sources import DataError, MovieLens


def failing_pip(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: No matching distribution found\n")


def test_pip_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(subprocess, "run", failing_pip)
    with pytest.raises(DataError, match=r"pip download failed: ERROR: No matching distribution found"):
        wheel.extract(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pip_takes_too_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def endless(command: list[str], **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, wheel.TIMEOUT)

    monkeypatch.setattr(subprocess, "run", endless)
    with pytest.raises(DataError, match=r"pip took longer than 120 s"):
        wheel.extract(tmp_path)


def test_another_wheel_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def other(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        (Path(command[command.index("--dest") + 1]) / "recbole-1.2.1-py3-none-any.whl").write_bytes(b"evil")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", other)
    with pytest.raises(DataError, match=r"sha256 of recbole-1.2.1-py3-none-any.whl must be 9c994820.*, got"):
        wheel.extract(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_wheel_gives_what_the_release_gives(shared: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "GROUPLENS", "http://127.0.0.1:9")  # nobody listens
    released = MovieLens("ml-100k", root=str(shared("ml-100k"))).read()
    fetched = MovieLens("ml-100k").read()
    assert fetched.items is not None
    assert fetched.users is not None
    assert fetched.sha256 == released.sha256
    pd.testing.assert_frame_equal(fetched.ratings, released.ratings)
    pd.testing.assert_frame_equal(fetched.items, released.items)
    pd.testing.assert_frame_equal(fetched.users, released.users)
