from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from benchmarks import cases


def shell(data: dict[str, str]) -> object:
    """Commands that write this SHA-256 into their run folder, by its name; those of other folders fail."""

    def run(command: str, folder: Path, scratch: Path) -> CompletedProcess[str]:
        if "recsys.inspect" in command:
            return CompletedProcess(command, 0, "a page\n\npython -m recsys.train data=tabular\n", "")
        run_folder = Path(command.rpartition("hydra.run.dir=")[2])
        if run_folder.name not in data:
            return CompletedProcess(command, 1, "", "warning\nerror: set data.quoting=false\n")
        run_folder.mkdir()
        (run_folder / "metrics.json").write_text(json.dumps({"data_sha256": data[run_folder.name]}))
        return CompletedProcess(command, 0, "", "")

    return run


@pytest.mark.parametrize(
    ("data", "trained", "alone"),
    [
        ({"told": "a", "alone": "a"}, "yes", "same"),
        ({"told": "a", "alone": "b"}, "yes", "other"),
        ({"told": "a"}, "yes", "set data.quoting=false"),
        ({}, "set data.quoting=false", "set data.quoting=false"),
    ],
)
def test_a_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: dict[str, str], trained: str, alone: str
) -> None:
    monkeypatch.setattr(cases, "run", shell(data))
    found = cases.case(tmp_path / "r.csv", tmp_path)
    assert found == cases.Case("r.csv", "python -m recsys.train data=tabular", trained, alone)
