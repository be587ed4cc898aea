from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from recsys.report import find, print_summary
from recsys.report.__main__ import main
from recsys.report.formats import as_page
from tests.report.run_folders import write_run

NASTY = "</script><script>alert(1)</script><!-- \u2028 {{data}} /*{{js}}*/ [bold]"


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two settings of two seeds, and three runs that did not finish."""
    folder = tmp_path / "sweep"
    for number, (dropout, seed) in enumerate([(0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)]):
        write_run(folder / str(number), f"model.dropout={dropout}", f"seed={seed}", val_rmse=0.9 + dropout + seed / 10)
    write_run(folder / "4", "model.dropout=0.3", state="failed", message=NASTY)
    write_run(folder / "5", "model.dropout=0.4", state="pruned", message="epoch 3 was not good enough")
    (write_run(folder / "6") / "metrics.json").write_text("{")
    return folder


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A page's parts in their smallest form."""
    folder = tmp_path / "template"
    folder.mkdir()
    data = '<script id="data" type="application/json">{{data}}</script>'
    (folder / "page.html").write_text(f"<style>/*{{{{css}}}}*/</style>{data}<script>/*{{{{js}}}}*/</script>")
    (folder / "a.css").write_text("body {}")
    (folder / "b.js").write_text("second('{{data}}')")
    (folder / "a.js").write_text("first()")
    return folder


def test_the_default_prints_tables_and_writes_a_page(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(sweep)])
    out = capsys.readouterr().out
    assert "ml-100k · user_time: 2 settings, 4 runs, by validation RMSE" in out
    assert "python -m recsys.train model.dropout=0.1 'seeds=[0,1]'" in out
    assert "3 runs not finished: 1 failed, 1 broken, 1 pruned" in out
    assert "epoch 3 was not good enough" in out
    assert "\x1b" not in out
    assert f"report: {sweep / 'report.html'}" in out
    assert (sweep / "report.html").read_text().startswith("<!doctype html>")
    assert [path.name for path in sweep.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_no_line_of_a_table_is_wider_than_the_screen(
    sweep: Path, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    main([str(sweep), "--format", "table"])
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if line.startswith(("#", "1 ", "2 ", "─"))]
    assert len(rows) >= 4
    assert max(map(len, rows)) <= columns
    assert "…" not in out
    assert ("no room for" in out) == (columns < 140)


def test_parameters_are_the_last_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        odd = [f"model.{name}={0.123456 + number / 10}" for name in ("reg_lambda", "dropout", "embedding_dim")]
        write_run(tmp_path / str(number), *odd, f"callbacks.early_stopping.patience={number}")
    monkeypatch.setenv("COLUMNS", "60")
    main([str(tmp_path), "--format", "table"])
    out = capsys.readouterr().out
    assert "no room for cold, warm, seconds, runs, 95% interval, to best (--format csv)" in out
    head = out.partition("───")[0].split()
    assert {"embedding_", "reg_", "dropout", "patience", "val.", "test"} <= set(head)
    assert "biases" in out
    assert "0.123" in out
    assert "(PED-ANOVA, rough: 12 settings)" not in out  # all figures are the same


@pytest.mark.parametrize(("settings", "said"), [(5, ""), (8, "(PED-ANOVA, rough: 8 settings)"), (10, "(PED-ANOVA)")])
def test_importance_says_how_rough_it_is(
    tmp_path: Path, settings: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(settings):
        write_run(tmp_path / str(number), f"model.dropout={number / 100}", val_rmse=0.9 + number / 100)
    main([str(tmp_path), "--format", "table"])
    out = capsys.readouterr().out
    assert ("parameter importance" in out) == bool(said)
    assert said in out


def test_the_folder_of_the_best_is_named(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(sweep), "--format", "table"])
    assert f"\n  in {sweep}/0 (the first of 2 runs)\n" in capsys.readouterr().out
    main([str(sweep), "--format", "md"])
    assert f"\nThe best is in `{sweep}/0`.\n" in capsys.readouterr().out


def test_the_model_is_called_as_one_types_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, model in enumerate(["mf", "svdpp"]):
        write_run(tmp_path / str(number), f"model_name={model}")
    for kind in ("table", "md", "csv"):
        main([str(tmp_path), "--format", kind])
        out = capsys.readouterr().out
        assert "model_name" not in out.replace("model_name=", "")  # write_run types overrides as they are resolved
        assert "svdpp" in out


def test_top(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(sweep), "--format", "table", "--top", "1"])
    out = capsys.readouterr().out
    assert "1 more settings (--top)" in out
    assert "2 more (--top)" in out


def test_json_is_the_contracts(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(sweep), "--format", "json"])
    data = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert list(data) == [
        "schema", "made", "root", "metric", "registry", "tasks", "parameters", "settings", "runs", "importance",
        "rankings",
    ]  # fmt: skip
    assert (data["schema"], data["root"], data["metric"], data["importance"]) == (1, str(sweep), "val/rmse", [None])
    assert data["parameters"] == [
        {"name": "model.dropout", "kind": "number", "log": False, "values": [0.0, 0.1, 0.2, 0.3, 0.4]}
    ]
    best, second = data["settings"]
    assert list(best) == ["task", "values", "runs", "mean", "standard_error", "difference", "command"]
    assert (best["values"], best["runs"], best["difference"]) == ({"model.dropout": 0.1}, [0, 1], None)
    assert second["difference"] == {"mean": 0.1, "low": 0.1, "high": 0.1, "n": 2}
    run = data["runs"][0]
    assert list(run) == [
        "path", "state", "message", "task", "setting", "model", "seed", "fold", "values", "metrics", "seconds",
        "started", "commit", "command", "curve", "analysis",
    ]  # fmt: skip
    assert list(run["metrics"]) == [
        "val/rmse", "test/rmse", "test/mae", "prequential/rmse", "prequential/rmse_unseen", "test/rmse_warm",
        "test/rmse_cold", "val/ndcg@10",
        "ranking/ndcg@10", "ranking/recall@10", "ranking/hr@10", "ranking/mrr@10", "ranking/map@10",
        "ranking/coverage@10", "ranking/novelty@10", "ranking/tail@10",
        *(f"ranking/ndcg@10{subset}" for subset in ("_warm", "_cold_users", "_cold_items")),
        "ranking_next/ndcg@10", "ranking_last/ndcg@10", "fit_seconds", "epochs",
    ]  # fmt: skip
    assert run["command"] == "python -m recsys.train model.dropout=0.1 seed=0"
    assert [run["state"] for run in data["runs"]] == ["finished"] * 4 + ["failed", "pruned", "broken"]
    assert data["runs"][6]["values"] == {"model.dropout": 0.0}


def test_numbers_have_six_digits_and_whole_ones_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "0", "data.batch_size=1048577", val_rmse=0.123456789)
    write_run(tmp_path / "1", "data.batch_size=8")
    main([str(tmp_path), "--format", "json"])
    data = json.loads(capsys.readouterr().out)
    assert data["settings"][0]["mean"]["val/rmse"] == 0.123457
    assert data["settings"][0]["values"] == {"data.batch_size": 1048577}


def test_csv_is_a_row_a_run_with_every_figure(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(sweep), "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["path"] for row in rows] == ["0", "1", "2", "3", "4", "5", "6"]
    assert (rows[1]["model.dropout"], rows[1]["val/rmse"], rows[1]["baseline/biases"]) == ("0.1", "1.1", "1.0004")
    assert (rows[4]["state"], rows[4]["val/rmse"], rows[4]["task"]) == ("failed", "", "ml-100k · user_time")


def test_markdown_is_one_table_a_task(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(sweep / "7", "data.name=a|b")
    main([str(sweep), "--format", "md"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "**a\\|b · user_time: 1 setting, 1 run, by validation RMSE**"
    table = [line.replace("\\|", "") for line in lines if line.startswith("|")]
    assert [line.count("|") for line in table[:4]] == [table[0].count("|")] * 4
    assert any("`python -m recsys.train model.dropout=0.1 'seeds=[0,1]'` |" in line for line in table)


def test_another_metric(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(sweep), "--format", "md", "--metric", "test/mae"])
    assert "by test MAE" in capsys.readouterr().out


def test_nothing_in_the_data_ends_its_element(sweep: Path, template: Path) -> None:
    page = as_page(find([sweep]), NASTY, template)
    begin, end = page.index('json">') + 6, page.index("</script>")
    assert page[end:] == "</script><script>first()\nsecond('{{data}}')</script>"
    data = json.loads(page[begin:end])
    assert data["root"] == NASTY
    assert data["runs"][4]["message"] == NASTY.replace("\u2028", " ").replace("  ", " ").replace("  ", " ")
    assert page.startswith("<style>body {}</style>")
    assert page.isascii()


def test_out_names_the_file(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("html", "md", "csv", "json"):
        main([str(sweep), "--format", kind, "--out", str(tmp_path / "new" / f"x.{kind}")])
        assert (tmp_path / "new" / f"x.{kind}").stat().st_size > 100
    assert capsys.readouterr().out == f"report: {tmp_path / 'new' / 'x.html'}\n"
    assert not (sweep / "report.html").exists()


def test_several_folders(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_run(tmp_path / "other")
    main([str(sweep), str(other), "--format", "json"])
    data = json.loads(capsys.readouterr().out)
    assert [data["runs"][0]["path"], data["runs"][-1]["path"]] == [str(sweep / "0"), str(other)]


def test_opening_the_page(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    main([str(sweep), "--format", "html", "--open"])
    assert opened == [(sweep / "report.html").as_uri()]


def test_a_mistake_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=f"^error: {tmp_path / 'gone'} is not a folder$"):
        main([str(tmp_path / "gone")])
    with pytest.raises(SystemExit, match=r"^error: no runs in .*config.yaml"):
        main([str(tmp_path)])
    write_run(tmp_path / "0")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("recsys.files.atomic_write", refuse)
    with pytest.raises(SystemExit, match=r"cannot write .*report.html \(Permission denied\)"):
        main([str(tmp_path)])


@pytest.mark.parametrize(
    "arguments",
    [[], ["x", "--format", "pdf"], ["x", "--metric", "val/loss"], ["x", "--metric", "fit_seconds"],
     ["x", "--top", "0"], ["x", "--top", "a"],
     ["x", "--format", "table", "--out", "y"], ["x", "--format", "csv", "--open"]],
)  # fmt: skip
def test_wrong_usage_is_status_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def test_top_says_what_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    for given in ("0", "-1", "a"):
        with pytest.raises(SystemExit):
            main(["x", f"--top={given}"])
        assert f"must be an integer >= 1, got {given}" in capsys.readouterr().err


def test_a_folder_where_nothing_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "0", state="failed", message="out of memory")
    for kind in ("table", "html", "md", "csv", "json"):
        main([str(tmp_path), "--format", kind])
    assert "out of memory" in capsys.readouterr().out


def test_the_summary_of_a_sweep(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(sweep)
    out = capsys.readouterr().out
    assert "best: dropout=0.1" in out
    assert not (sweep / "report.html").exists()
    (tmp_path / "empty").mkdir()
    print_summary(tmp_path / "empty")
    assert capsys.readouterr().out == ""


def test_nothing_heavy_is_imported(sweep: Path) -> None:
    code = (
        "import sys; from recsys.report.__main__ import main; main(sys.argv[1:]);"
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, str(sweep)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"})
    heavy = {"torch", "lightning", "hydra", "omegaconf", "wandb", "matplotlib", "pandas", "numpy", "optuna", "sklearn"}
    assert heavy.isdisjoint(done.stderr.split())


def test_the_page_is_not_written_through_a_link(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("mine")
    (sweep / "report.html").symlink_to(tmp_path / "mine")
    with pytest.raises(SystemExit, match=r"report\.html is a link to .*/mine; name the file to write with --out"):
        main([str(sweep), "--format", "html"])
    assert (tmp_path / "mine").read_text() == "mine"
    main([str(sweep), "--format", "html", "--out", str(sweep / "report.html")])  # as asked for
    assert (tmp_path / "mine").read_text() != "mine"


@pytest.mark.parametrize("kind", ["table", "md", "csv", "json"])
def test_nothing_of_a_run_reaches_the_terminal_but_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Escape sequences in a stranger's run would set the terminal's title, or hide lines."""
    evil = "\x1b]0;owned\x07\x9b1m\u202e"
    for number in (1, 2):
        folder = tmp_path / f"{number}{evil}"
        write_run(folder, data=evil, model=evil, **{evil: 1.0})
        content = yaml.safe_load((folder / "config.yaml").read_text())
        content |= {"model_name": evil, "overrides": [f"data.name={evil}"], "data": content["data"] | {"name": evil}}
        content["model"] |= {evil: number, "x": f"{evil}{number}"}
        (folder / "config.yaml").write_text(yaml.safe_dump(content))
    main([str(tmp_path), "--format", kind])
    out = capsys.readouterr().out
    assert out
    assert all(character.isprintable() or character == "\n" for character in out)
