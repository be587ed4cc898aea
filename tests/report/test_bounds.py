"""Run folders of a stranger that ask for more than their size tells; limits are lowered, so that small ones do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recsys.report import ReportError, find, print_summary, run_files, runs
from recsys.report.__main__ import main
from recsys.report.runs import read_runs
from tests.report.run_folders import write_run


@pytest.mark.parametrize("name", ["config.yaml", "status.json", "metrics.json", "metrics.csv", "analysis.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "hole"])
def test_something_else_in_the_place_of_a_file(name: str, kind: str, tmp_path: Path) -> None:
    file = write_run(tmp_path) / name
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.touch()
        os.truncate(file, 20 << 30)
    (run,) = read_runs([tmp_path])
    reason = "it has more than" if kind == "hole" else "it is not a file"
    assert f"{name}: {reason}" in (run.message or "")
    assert run.state == ("finished" if name in ("metrics.csv", "analysis.json") else "broken")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("1,0.9\n" * 20, "more than 10 epochs"),
        ("900,0.9\n" * 2, "more than 10 epochs"),
        ("x" * 3000, "more than 0 MiB"),
    ],
)
def test_a_curve_without_end(rows: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_files, "MOST_EPOCHS", 10)
    monkeypatch.setattr(run_files, "MAX_CURVE_BYTES", 2000)
    (write_run(tmp_path) / "metrics.csv").write_text("epoch,val/rmse\n" + rows)
    (run,) = read_runs([tmp_path])
    assert (run.state, run.curve) == ("finished", [])
    assert reason in (run.message or "")


def test_large_files_share_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "ORDINARY", 3000)
    monkeypatch.setitem(runs.MOST_BYTES, ".yaml", 9000)
    for n in range(3):
        file = write_run(tmp_path / str(n)) / "config.yaml"
        file.write_text(file.read_text() + "#" * 4000)
    found = read_runs([tmp_path])
    assert [run.state for run in found] == ["finished", "broken", "broken"]
    assert "config.yaml: not read: the report has read 0 MiB of such large files" in (found[1].message or "")


def test_many_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(4):
        write_run(tmp_path / str(n))
    monkeypatch.setattr(runs, "MOST_RUNS", 3)
    with pytest.raises(ReportError, match="has more than 3 runs; name a folder in it"):
        find([tmp_path])
    print_summary(tmp_path)
    assert "no summary: " in capsys.readouterr().out
    monkeypatch.setattr(runs, "MOST_NAMES", 3)
    with pytest.raises(SystemExit, match=r"error: .* has more than 3 names; name a folder in it"):
        main([str(tmp_path)])


def test_folders_in_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "DEEPEST", 3)
    write_run(tmp_path / "a" / "b" / "c" / "d")
    (run,) = read_runs([tmp_path])
    assert run.message == "not searched: it is more than 3 folders deep"


def test_links_to_folders_above(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    (folder / "again").symlink_to(tmp_path)
    assert len(read_runs([tmp_path])) == 1


def test_names_in_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n, name in enumerate(("<img src=x onerror=alert(1)>", "[x](http://evil.example)", "`|`")):
        write_run(tmp_path / str(n), f"data.name='{name}'", "model.dropout=0.1")
    main([str(tmp_path), "--format", "md"])
    lines = capsys.readouterr().out.splitlines()
    headings = [line for line in lines if line.startswith("**")]
    assert len(headings) == 3
    assert any("\\<img" in line for line in headings)
    assert any("\\[x](http" in line for line in headings)
    assert any("\\`\\|\\`" in line for line in headings)
