"""The comparison of micro-benchmarks, on made-up results; the benchmarks themselves are no tests."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.micro import compare as command
from benchmarks.micro.comparison import ELSEWHERE, FASTER, FLOOR, MISSING, NEW, SAME, SLOWER, compare
from benchmarks.micro.passes import name_of, node_of
from benchmarks.micro.render import notes, show
from benchmarks.micro.results import Figures, Results, ResultsError, load, of_passes, save, stored_file

MACHINE = {"device": "cpu-2core", "processor": "a", "threads": 1, "torch": "2.13.0"}


def results(machine: dict[str, Any] | None = None, **ratios: float | tuple[float, ...]) -> Results:
    """Of benchmarks by name, with the ratio of every pass, or one of three equal passes."""
    of_each = {name: given if isinstance(given, tuple) else (given,) * 3 for name, given in ratios.items()}
    figures = {name: Figures(passes, min(passes) * 2e-3, min(passes) * 3e-3, 30) for name, passes in of_each.items()}
    return Results(MACHINE | (machine or {}), "0123456789ab+", figures)


def verdict(stored: float | tuple[float, ...], now: float | tuple[float, ...]) -> str:
    [row] = compare(results(step=stored), results(step=now))
    return row.verdict


def report(ratios: dict[str, float], calibration: float = 0.002) -> dict[str, Any]:
    """What pytest-benchmark reports of one pass."""
    return {
        "machine_info": MACHINE,
        "commit_info": {"id": "0123456789abcdef", "dirty": True},
        "benchmarks": [
            {
                "fullname": f"benchmarks/micro/test_{name.replace('/', '.py::test_')}",
                "stats": {"min": ratio * calibration, "median": 2 * ratio * calibration, "rounds": 10},
                "extra_info": {"calibration": calibration},
            }
            for name, ratio in ratios.items()
        ],
    }


@pytest.mark.parametrize(
    ("stored", "now", "expected"),
    [
        (4.0, 4.0, SAME),
        (4.0, 4.0 * (1 + FLOOR) - 0.01, SAME),
        (4.0, 4.0 * (1 + FLOOR) + 0.01, SLOWER),
        (4.0, 4.0 / (1 + FLOOR) + 0.01, SAME),
        (4.0, 4.0 / (1 + FLOOR) - 0.01, FASTER),
    ],
)
def test_beyond_the_floor_is_a_change(stored: float, now: float, expected: str) -> None:
    assert verdict(stored, now) == expected


def test_what_passes_differ_by_is_noise() -> None:
    assert verdict(4.0, 6.0) == SLOWER
    assert verdict((3.0, 4.0, 5.0), 6.0) == SAME  # stored passes differ by a quarter, and three times that is noise
    assert verdict(4.0, (5.0, 6.0, 7.5)) == SAME
    assert verdict((3.9, 4.0, 4.1), (7.8, 8.0, 8.2)) == SLOWER


def test_noise_of_both_adds_up_as_squares() -> None:
    [row] = compare(results(step=(3.6, 4.0, 4.4)), results(step=(3.2, 4.0, 4.8)))
    assert row.noise == pytest.approx(3 * (0.1**2 + 0.2**2) ** 0.5)


def test_one_disturbed_pass_changes_nothing() -> None:
    figures = Figures((4.0, 4.1, 4.2, 4.3, 90.0), 1e-3, 1e-3, 30)
    assert figures.ratio == 4.2
    assert figures.spread == pytest.approx(3 * 0.1 / 4.2)


def test_missing_and_new_benchmarks_are_told() -> None:
    rows = compare(results(gone=1.0, step=2.0), results(step=2.0, added=3.0))
    assert [(row.name, row.verdict) for row in rows] == [("step", SAME), ("added", NEW), ("gone", MISSING)]


def test_table_names_all_and_says_which_are_slower() -> None:
    stored = results(**{"training/step[mf]": 4.0, "a": 4.0, "gone": 1.0})
    now = results(**{"training/step[mf]": 8.0, "a": 1.0, "added": 1.0})
    console = Console(width=160, file=io.StringIO(), record=True)
    show(console, Path("micro-cpu-2core.json"), stored, now, compare(stored, now))
    shown = console.export_text()
    assert "training/step[mf]" in shown
    assert "+100%" in shown
    assert "-75%" in shown
    assert all(word in shown for word in ("slower", "faster", "missing", "new"))
    assert "Slower beyond noise: training/step[mf]." in shown
    assert "another machine" not in shown


@pytest.mark.parametrize("other", [{"device": "cpu-8core"}, {"threads": 8}, {"processor": "b"}])
def test_another_machine_is_told_and_allowed_more(other: dict[str, Any]) -> None:
    stored, now = results(step=4.0), results(other, step=6.0)
    rows = compare(stored, now)
    assert [row.noise for row in rows] == [ELSEWHERE]
    [what, verdict] = notes(Path("micro-x.json"), stored, now, rows)
    [(name, value)] = other.items()
    assert "micro-x.json is of another machine" in what
    assert f"{name} {MACHINE[name]} then, {value} now" in what
    assert "ratios to a calibration only" in what
    assert verdict == "Nothing is slower beyond noise."


def test_other_versions_are_told() -> None:
    stored, now = results(step=4.0), results({"torch": "2.14.0"}, step=4.0)
    assert "Other versions: torch 2.13.0 then, 2.14.0 now." in notes(Path("x"), stored, now, compare(stored, now))


def test_figures_of_passes() -> None:
    reports = [report({"data/ids[str]": 5.0, "bundle/load": 2.0}), report({"data/ids[str]": 7.0}, calibration=0.004)]
    found = of_passes(reports)
    assert found.git_commit == "0123456789ab+"
    assert found.benchmarks["data/ids[str]"] == Figures((5.0, 7.0), 0.01, 0.038, 20)
    assert found.benchmarks["bundle/load"].ratios == (2.0,)


def test_names_and_tests_go_both_ways() -> None:
    assert name_of("benchmarks/micro/test_data.py::test_split[kfold]") == "data/split[kfold]"
    assert node_of("data/split[kfold]").endswith("benchmarks/micro/test_data.py::test_split[kfold]")


def test_file_holds_all_and_is_small(tmp_path: Path) -> None:
    some = results(**{f"data/benchmark[{n}]": (4.123, 4.234, 4.345, 4.456, 4.567) for n in range(25)})
    save(some, tmp_path / "micro.json")
    assert load(tmp_path / "micro.json") == some
    assert (tmp_path / "micro.json").stat().st_size < 5000


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"benchmarks"', '"others"'),
        lambda text: text.replace('"rounds": 30', '"rounds": null'),
        lambda text: text.replace("[4.0, 4.0, 4.0]", "[]"),
        lambda text: text.replace('"min"', '"least"'),
    ],
)
def test_damaged_file_is_told(tmp_path: Path, damage: Callable[[str], str]) -> None:
    file = tmp_path / "micro.json"
    save(results(step=4.0), file)
    file.write_text(damage(file.read_text()))
    with pytest.raises(ResultsError, match=r"micro\.json is damaged"):
        load(file)


def test_the_own_device_comes_first(tmp_path: Path) -> None:
    assert stored_file(tmp_path, "cpu-8core").name == "micro-cpu-8core.json"
    (tmp_path / "micro-cpu-2core.json").touch()
    assert stored_file(tmp_path, "cpu-8core").name == "micro-cpu-2core.json"
    (tmp_path / "micro-cpu-8core.json").touch()
    assert stored_file(tmp_path, "cpu-8core").name == "micro-cpu-8core.json"


def test_suspects_are_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was disturbed is cleared by more passes; one that is slower stays so."""
    save(results(**{"data/a": 4.0, "data/b": 4.0}), file := tmp_path / "micro.json")
    asked: list[list[str]] = []

    def passes(count: int, names: list[str] | None = None) -> list[dict[str, Any]]:
        asked.append(names or [])
        return [report({"data/a": slow, "data/b": 4.0} if not names else {"data/a": again})] * count

    monkeypatch.setattr(command, "stored_file", lambda: file)
    monkeypatch.setattr(command, "measured", passes)
    slow, again = 9.0, 3.9
    assert command.compared(3) == 0
    slow, again = 9.0, 9.0
    assert command.compared(3) == 1
    assert asked == [[], ["data/a"]] * 2


def test_errors_have_a_status_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "micro.json").write_text(json.dumps({}))
    monkeypatch.setattr(command, "stored_file", lambda: file)
    monkeypatch.setattr("sys.argv", ["compare"])
    assert command.main() == 2
    assert "micro.json is damaged" in capsys.readouterr().err
