"""Tables and picture from made-up results, and the repository's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tables import __main__ as command
from benchmarks.tables import picture
from benchmarks.tables.blocks import blocks, filled
from benchmarks.tables.documents import DOCUMENTS, RESULTS, TABLES, content, differing, write
from benchmarks.tables.markdown import seconds, span, times
from benchmarks.tables.results import Results, TablesError

MACHINE = {"cpu": "made up", "cores": 2, "system": "Linux"}
Root = Callable[..., Path]


def entry(competitor: str = "libmf", rmse: float = 0.9, seed: int = 0, **others: Any) -> dict[str, Any]:
    """A result of the comparison."""
    return {
        "competitor": competitor, "label": competitor, "settings_name": "documented", "data": "ml_1m",
        "split": "kfold fold 0", "seed": seed, "task": "rating", "settings": {"k": 8}, "source": "defaults",
        "threads": 2, "n_train": 900_000, "n_test": 100_000, "machine": MACHINE, "date": "2026-11-27T01:02:03+00:00",
        "git_commit": "0123456789ab", "rmse": rmse, "rmse_warm": rmse, "rmse_cold": None, "mae": 0.7,
        "fit_seconds": 1.25, "fit_cpu_seconds": 2.5, "predict_seconds": 0.1, "peak_memory_mib": 321.0,
        "memory_before_fit_mib": 100.0, "versions": {"python": "3.11.7"},
    } | others  # fmt: skip


def failed(competitor: str = "libmf", reason: str = "out of <memory> | at once", **others: Any) -> dict[str, Any]:
    whole = entry(competitor, **others)
    kept = {name: value for name, value in whole.items() if "rmse" not in name and "seconds" not in name}
    return kept | {"error": reason}


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A repository with these results and documents."""

    def made(results: dict[str, Any], readme: str = "", docs: str = "") -> Path:
        folder = tmp_path / RESULTS
        folder.mkdir(parents=True)
        for name, found in results.items():
            (folder / f"{name}.json").write_text(json.dumps(found))
        for name, text in zip(DOCUMENTS, (readme, docs), strict=True):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(text.encode())
        return tmp_path

    return made


def table(root: Path, name: str) -> str:
    return content(name, Results(root / RESULTS))


def row(text: str, start: str) -> list[str]:
    """Cells of the one row that begins so."""
    [found] = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in found.strip("|").split(" | ")]


# Documents


def test_bytes_outside_the_blocks_stay(root: Root) -> None:
    outside = "# Title\r\n\r\n\ttext  \n<!-- a comment -->\n", "\nno newline at the end \u00e9"
    text = f"{outside[0]}<!-- table: speed -->\nold\n<!-- end -->{outside[1]}"
    folder = root({"other-cpu-2core": []}, text)
    write(folder)
    after = (folder / "README.md").read_bytes().decode()
    assert after.startswith(outside[0])
    assert after.endswith(outside[1])
    assert "old" not in after
    assert (folder / "docs" / "benchmarks.md").read_bytes() == b""


def test_writing_twice_changes_nothing_until_a_figure_moves(root: Root) -> None:
    folder = root(
        {"comparison-cpu-2core": [entry(rmse=0.9)]},
        "<!-- table: comparison --><!-- end -->",
        "<!-- table: tuned -->\n<!-- end -->",
    )
    write(folder)
    once = [(folder / name).read_bytes() for name in DOCUMENTS]
    write(folder)
    assert [(folder / name).read_bytes() for name in DOCUMENTS] == once
    assert differing(folder) == []
    (folder / RESULTS / "comparison-cpu-2core.json").write_text(json.dumps([entry(rmse=0.91)]))
    assert differing(folder) == ["README.md: comparison", picture.FILE]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n<!-- table: nonsense -->\n<!-- end -->", "table must be one of .*, got 'nonsense'"),
        ("one\n<!-- table: comparison -->\n", "README.md: line 2: table comparison has no `<!-- end -->`"),
        (
            "<!-- table: comparison -->\n<!-- table: speed -->\n<!-- end -->",
            "line 1: table comparison has no `<!-- end -->`",
        ),
        ("a\nb\n<!-- end -->", "line 3: `<!-- end -->` ends no table"),
    ],
)
def test_documents_that_cannot_be_filled(root: Root, text: str, message: str) -> None:
    folder = root({"comparison-cpu-2core": [entry()]}, text)
    with pytest.raises(TablesError, match=message):
        write(folder)
    assert (folder / "README.md").read_text() == text


def test_blocks_are_replaced_in_order() -> None:
    text = "a<!-- table: x -->1<!-- end -->b<!-- table: y -->2<!-- end -->c"
    assert [block.name for block in blocks(text)] == ["x", "y"]
    assert filled(text, str.upper) == "a<!-- table: x -->\nX\n<!-- end -->b<!-- table: y -->\nY\n<!-- end -->c"


def test_no_results_at_all_are_an_error(root: Root) -> None:
    with pytest.raises(TablesError, match="has no results files"):
        write(root({}))


def test_a_document_that_is_absent(root: Root) -> None:
    folder = root({"comparison-cpu-2core": []})
    (folder / "README.md").unlink()
    with pytest.raises(TablesError, match=r"README\.md does not exist"):
        write(folder)


@pytest.mark.parametrize("name", TABLES)
def test_what_was_not_measured_says_so(root: Root, name: str) -> None:
    assert table(root({"other-cpu-2core": []}), name).startswith("Not measured: ")


def test_a_damaged_file_is_named(root: Root) -> None:
    folder = root({"micro-cpu-2core": {"machine": {}}, "comparison-cpu-2core": []})
    with pytest.raises(TablesError, match=r"table micro: .*benchmarks"):
        table(folder, "micro")
    (folder / RESULTS / "comparison-cpu-2core.json").write_text("{")
    with pytest.raises(TablesError, match=r"comparison-cpu-2core\.json is damaged"):
        table(folder, "comparison")


def test_check_names_what_differs_and_writes_nothing(
    root: Root, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "<!-- table: comparison -->\n<!-- end -->\n<!-- table: speed -->\n<!-- end -->"
    folder = root({"comparison-cpu-2core": [entry()]}, text, "<!-- table: tuned -->\n<!-- end -->")
    monkeypatch.setattr(command, "ROOT", folder)
    monkeypatch.setattr(sys, "argv", ["tables", "--check"])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code not in (None, 0)
    said = capsys.readouterr().out
    for what in ("README.md: comparison", "README.md: speed", "docs/benchmarks.md: tuned", picture.FILE):
        assert f"{what} is not what the results give" in said
    assert (folder / "README.md").read_text() == text

    monkeypatch.setattr(sys, "argv", ["tables"])
    command.main()
    monkeypatch.setattr(sys, "argv", ["tables", "--check"])
    capsys.readouterr()
    command.main()
    assert capsys.readouterr().out == ""


# Peers


def test_peers_are_means_over_seeds_with_recsys_last_and_bold(root: Root) -> None:
    found = [
        entry("recsys-mf", 0.80), entry("libmf", 0.9), entry("libmf", 0.92, seed=1),
        entry("libmf", 0.85, settings_name="tuned"),
    ]  # fmt: skip
    text = table(root({"comparison-cpu-2core": found}), "comparison")
    assert row(text, "libmf") == ["libmf", "0.9100", "1.2", "321"]
    assert row(text, "· tuned")[1] == "0.8500¹"
    assert row(text, "**recsys-mf**") == ["**recsys-mf**", "**0.8000**¹", "**1.2**", "**321**"]
    assert text.index("| **recsys-mf**") > text.index("| · tuned")
    assert row(text, "**recsys-mf**")[1].endswith("¹")
    assert "made up, 2 cores, 2 threads, commit `0123456789ab`, 2026-11-27" in text
    assert "On a GPU: not measured." in text


def test_headline_has_the_most_accurate_row_of_each_library(root: Root) -> None:
    found = [
        entry("surprise-svd", 0.9), entry("surprise-svd", 0.85, settings_name="tuned"), entry("surprise-svdpp", 0.87),
        entry("recsys-mf", 0.84), entry("recsys-svdpp", 0.83), entry("libmf", 0.86, data="ml_100k"),
    ]  # fmt: skip
    text = table(root({"comparison-cpu-2core": found}), "headline")
    first = [line.split("|")[1].strip() for line in text.splitlines() if "0.8" in line]
    assert first == ["surprise-svd, tuned", "**recsys-mf**", "**recsys-svdpp**"]


def test_a_failed_competitor_is_a_cell_and_a_reason(root: Root) -> None:
    found = [failed(), failed(seed=1), entry(split="user_time"), entry("myfm", 0.8), failed("myfm", "late", seed=1)]
    text = table(root({"comparison-cpu-2core": found}), "comparison")
    assert row(text, "libmf") == ["libmf", "failed", "0.9000¹", "failed", "failed"]
    assert row(text, "myFM ids")[1:3] == ["0.8000¹", "–"]  # of the seed that did not fail
    assert "- libmf, ML-1M `kfold` fold 0 (seed 0, 1): out of &lt;memory> \\| at once" in text
    assert "- myFM ids, ML-1M `kfold` fold 0 (seed 1): late" in text


def test_a_gpu_has_rows_of_its_own(root: Root) -> None:
    text = table(
        root({"comparison-cpu-2core": [entry("recsys-mf")], "comparison-h100": [entry("recsys-mf", 0.7)]}), "comparison"
    )
    assert row(text, "**recsys-mf, h100**")[1] == "**0.7000**"
    assert "not measured" not in text


def test_all_figures_of_every_seed_and_the_settings(root: Root) -> None:
    text = table(root({"comparison-cpu-2core": [entry(rmse=0.9), entry(rmse=0.8, seed=1)]}), "comparison_full")
    assert "**ML-1M `kfold` fold 0**: 900,000 ratings to fit on, 100,000 to predict" in text
    cells = ["libmf", "0.8500", ".9000 .8000", "0.8500", "–", "0.7000", "1.2", "2.5", "0.10", "321", "100"]
    assert [line for line in text.splitlines() if line.startswith("| libmf |")] == [
        f"| {' | '.join(cells)} |",
        "| libmf | ML-1M | `k=8` | defaults |",
    ]
    assert "Versions: python 3.11.7." in text


def test_rankings_have_a_table_of_their_own(root: Root) -> None:
    figures: dict[str, Any] = {f"{name}@{k}": k / 100 for name in ("recall", "ndcg", "hr") for k in (10, 20)}
    found = [entry(), entry("implicit-als", task="ranking", split="leave_one_out", **figures)]
    folder = root({"comparison-cpu-2core": found})
    line = next(line for line in table(folder, "ranking").splitlines() if line.startswith("| implicit-als |"))
    assert line.startswith("| implicit-als | 0.1000 | 0.1000 | 0.1000 | 0.2000 | 0.2000 | 0.2000 | 1.2 |")
    assert "implicit-als" not in table(folder, "comparison")


def test_time_to_rmse(root: Root) -> None:
    climb: dict[str, Any] = {"target_rmse": 0.89, "pace_median_seconds": 10.0, "steps": [{"budget": 2, "rmse": 0.9}]}
    found = [
        entry("surprise-svd", **climb, median_seconds=10.0, rounds=[{"rmse": 0.89}]),
        entry("recsys-mf", **climb, median_seconds=0.5, rounds=[{"rmse": 0.8905}, {"rmse": 0.88}]),
        entry("libmf", **climb, median_seconds=None, rounds=[]),
        entry("myfm", **climb | {"steps": [{"budget": 2, "error": "late"}]}, median_seconds=None, rounds=[]),
    ]
    text = table(root({"time_to_rmse-cpu-2core": found}), "time_to_rmse")
    assert "ML-1M `kfold` fold 0: 0.8900" in text
    assert row(text, "surprise-svd")[1] == "10 (1.00×)"
    assert row(text, "**recsys-mf**")[1] == "**0.50 (20×)**"
    assert row(text, "libmf")[1] == "not reached"
    assert row(text, "myFM ids")[1] == "failed"
    assert "missed the target at most: recsys-mf by 0.0005" in text


def test_another_target_has_a_table_and_a_pace_of_its_own(root: Root) -> None:
    climb: dict[str, Any] = {"target_rmse": 0.89, "pace_median_seconds": 10.0, "steps": [], "rounds": []}
    lower = climb | {"target_rmse": 0.85, "target": 0.85, "pace": "LIBMF", "pace_median_seconds": 2.0}
    found = [entry("libmf", **climb, median_seconds=1.0), entry("libmf", **lower, median_seconds=2.0)]
    text = table(root({"time_to_rmse-cpu-2core": found}), "time_to_rmse")
    assert [line.strip("| ") for line in text.splitlines() if line.startswith(("| libmf", "| seconds"))] == [
        "seconds to RMSE (times as fast as Surprise SVD) | ML-1M `kfold` fold 0: 0.8900", "libmf | 1.0 (10×)",
        "seconds to RMSE (times as fast as LIBMF) | ML-1M `kfold` fold 0: 0.8500", "libmf | 2.0 (1.00×)",
    ]  # fmt: skip


def test_settings_found(root: Root) -> None:
    found = {
        "competitor": "libmf", "data": "ml_1m", "split": "user_time", "target": "rmse", "settings": {"k": 64},
        "best": 0.85, "trials": [{"rmse": 0.9}, {"rmse": 0.85}, {"error": "late"}], "machine": MACHINE,
    }  # fmt: skip
    text = table(root({"tuned-libmf-ml_1m": found}), "tuned")
    assert row(text, "LIBMF")[1:] == ["ML-1M `user_time`", "3 (1 failed)", "RMSE 0.9000", "0.8500", "`k=64`"]


# recsys alone


def test_speed_beside_other_loops_and_as_data_grows(root: Root) -> None:
    case: dict[str, Any] = {"name": "plain", "lightning": [0.5, 0.4, 0.6], "bare": [0.4], "lightning_over_bare": 1.25}
    written = case | {"name": "usual", "dataloader": [10.0], "dataloader_over_lightning": 20.0}
    loop = {"cases": [case, written], "batch_size": 8192, "embedding_dim": 64, "threads": 2, "machine": MACHINE}
    size: dict[str, Any] = {"ratings": 1_000_000, "batch_size": 8192, "epoch_seconds": [0.3], "ns_per_rating": 300.0}
    growth = {"small": size, "large": size | {"ratings": 25_000_000}, "ratio": 0.9, "rmse": []}
    text = table(root({"training_loop-cpu-2core": loop, "scaling-cpu-2core": growth}), "speed")
    assert row(text, "plain")[1:] == ["0.50 s", "0.40 s", "1.25×", "–", "–"]
    assert row(text, "usual")[4:] == ["10 s", "**20×**"]
    assert row(text, "25 million")[1:] == ["8,192", "0.30 s", "300 ns (0.90×)"]
    assert text.endswith("On a GPU: not measured.")


def test_one_of_two_files_is_absent(root: Root) -> None:
    size: dict[str, Any] = {"ratings": 1_000_000, "batch_size": 8192, "epoch_seconds": [0.3], "ns_per_rating": 300.0}
    text = table(root({"scaling-h100": {"small": size, "large": size, "ratio": 1.0, "rmse": []}}), "speed")
    assert text.startswith("Not measured: there is no `training_loop-<device>.json`.")
    assert "1 million, h100" in text
    assert "On a GPU" not in text


def test_two_devices_have_two_tables(root: Root) -> None:
    measured = {"ratios": [1.0, 3.0, 2.0], "min": 0.0012, "median": 2.5e-5, "rounds": 5}
    found = {"machine": {"processor": "made up"}, "benchmarks": {"test_x[mf]": measured}}
    text = table(root({"micro-cpu-2core": found, "micro-h100": found}), "micro")
    assert "2 CPU cores:" in text
    assert "h100:" in text
    assert text.count("| `test_x[mf]` | 1.2 ms | 25 µs | 2 |") == 2


@pytest.mark.parametrize(
    ("shown", "expected"),
    [(seconds(0.123), "0.12"), (seconds(9.96), "10"), (seconds(0.97), "1.0"), (seconds(1234), "1,234"),
     (times(1.174), "1.17×"), (times(2.04), "2.0×"), (times(17.9), "18×"), (span(1.5), "1.5 s"),
     (span(1e-9), "0.001 µs")],
)  # fmt: skip
def test_numbers(shown: str, expected: str) -> None:
    assert shown == expected


def test_sweeps_as_data_grows(root: Root) -> None:
    spent = {"small": [300.0, 310.0, 290.0], "large": [360.0], "large_first": [500.0]}
    fit = {"ratings": 25_000_000, "samples": 8, "embedding_dim": 64, "bundle_gb": 1.2, "peak_gib": 6.4, "seconds": 700,
           "command": "python -m recsys.train"}  # fmt: skip
    found = {"models": {"als": {"ratio": 1.2, "ns_per_rating": spent}}, "memory": fit, "embedding_dim": 32}
    text = table(root({"scaling_sweeps-cpu-2core": found}), "scaling_sweeps")
    assert row(text, "`als`")[1:] == ["300 ns", "360 ns", "**1.20×**", "500 ns"]
    assert "25 million ratings from a file to a bundle of 8 samples of 64 coordinates (1.2 GB): at most 6.4 GiB" in text


def test_a_sweep_of_ials_beside_the_faster_of_implicit(root: Root) -> None:
    def solver(seconds: float) -> dict[str, Any]:
        return {"seconds": [seconds] * 3, "cpu_seconds": [seconds] * 3, "first": [1.0], "ndcg": [[0.02, 0.04]] * 2}

    solvers = {"implicit, Cholesky": solver(2.0), "implicit, steps": solver(0.2), "recsys, 2 steps": solver(0.1)}
    found = {"embedding_dim": 64, "ratings": 1000, "sweeps": [1, 8], "solvers": solvers}
    text = table(root({"ials_sweep-cpu-2core": found}), "ials_sweep")
    assert row(text, "recsys, 2 steps")[1:] == ["100 ms", "100 ms", "**2.0×**", "1 s", "0.0200", "0.0400"]
    assert row(text, "implicit, Cholesky")[3] == "**0.10×**"


def test_samples(root: Root) -> None:
    found = {"data": "ml_1m", "split": "user_time", "samples": "4", "val_rmse": 0.84, "test_rmse": 0.85,
             "factors_mb": 1.25, "predict_ms": 0.01, "top10_ms": 0.1, "fold_in_ms": 2.0}  # fmt: skip
    text = table(root({"samples-cpu-2core": [found]}), "samples")
    assert row(text, "ML-1M `user_time`")[1:] == ["4", "0.8400", "0.8500", "1.2", "0.010", "0.100", "2.000"]


def test_this_version_beside_the_one_before(root: Root) -> None:
    code = {"not_commands": ["cli"], "cycles": [], "longest_class": [18, "C"], "longest_file": [300, "f.py"],
            "readme_lines": 120, "files_per_task": {"metric": 3, "route": 4}}  # fmt: skip
    found = {
        "code": {"before": code | {"files_per_task": {}}, "after": code, "machine": MACHINE},
        "service": {"one rating": {"before": 1000, "after": 1100, "ratio": 1.1}},
        "rmse": {"mf": {"before": 0.95, "after": 0.95}, "als": {"before": 0.95, "after": 0.951}},
        "tests": {"before": {"wall": 300, "cpu": 400}, "after": {"wall": 100, "cpu": 180}},
    }
    text = table(root({"release-cpu-2core": found}), "release")
    assert row(text, "files that a new data set, metric, model, route touches, as CONTRIBUTING lists them")[1:] == [
        "–",
        "3 / 4",
    ]
    assert row(text, "requests per second: one rating")[1:] == ["1,000", "1,100 (1.10×)"]
    assert row(text, "test RMSE of `mf`")[2] == "0.950000 (equal)"
    assert row(text, "test RMSE of `als`")[2] == "0.951000 (+1e-03)"
    assert row(text, "`make test`, seconds (CPU seconds)")[1:] == ["300 (400)", "100 (180)"]


# The repository


def test_readme_and_docs_are_what_the_results_give() -> None:
    assert differing(command.ROOT) == []


def test_every_table_is_in_a_document() -> None:
    shown = {block.name for name in DOCUMENTS for block in blocks((command.ROOT / name).read_text())}
    assert shown == set(TABLES)
