from __future__ import annotations

import io
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from recsys.inspect import main
from tests.data.inspection.test_folder import ITEMS, RATINGS

Inspect = Callable[..., list[str]]


@pytest.fixture
def inspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inspect:
    """Lines printed for a file with this content in the current folder."""
    monkeypatch.chdir(tmp_path)

    def run(content: str | bytes | None, *options: str, name: str = "r.csv") -> list[str]:
        if content is not None:
            Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        main([name, *options])
        return capsys.readouterr().out.splitlines()

    return run


def options(lines: Sequence[str]) -> list[str]:
    words = shlex.split(lines[-1])
    assert words[:5] == ["python", "-m", "recsys.train", "data=tabular", "data.ratings_file=r.csv"]
    return words[5:]


def test_the_last_line_trains_on_the_file(inspected: Inspect) -> None:
    lines = inspected(RATINGS)
    assert options(lines) == ["data.user_column=user", "data.item_column=item", "data.timestamp_column=time"]
    page = "\n".join(lines)
    for text in ("comma between columns, header", "1 to 5", "in steps of 1", "2005-10-09", "█", "12  "):
        assert text in page


def test_a_table_of_counts_is_ranked(inspected: Inspect) -> None:
    rows = "".join(f"{n // 5},{n % 7},{n**3 + 1}\n" for n in range(60))
    assert options(inspected(f"user_id,item_id,plays\n{rows}"))[-2:] == ["data.split=random", "model=ials"]


def test_stray_quotes_are_left_as_they_are(inspected: Inspect) -> None:
    rows = RATINGS.splitlines()
    text = "\n".join([*rows[:5], '"Bob,1,2,3', *rows[5:9], '"Eve,1,2,3', *rows[9:], ""])
    lines = inspected(text)
    assert "data.quoting=false" in options(lines)
    assert any(line.startswith("! ") and "line 6" in line for line in lines)


def test_rows_that_cannot_be_read_are_counted(inspected: Inspect) -> None:
    lines = inspected(RATINGS + "oops\n")
    assert "data.bad_rows=drop" in options(lines)
    assert any("60 kept + 1 refused" in line for line in lines)


def test_an_open_order_of_day_and_month_trains_without_times(inspected: Inspect) -> None:
    rows = "".join(f"{n // 5},{n % 7},{n % 5 + 1},0{n % 9 + 1}/05/2019\n" for n in range(60))
    lines = inspected(f"user_id,item_id,rating,day\n{rows}")
    assert options(lines) == ["data.timestamp_column=null", "data.split=random"]
    assert any("'%d/%m/%Y'" in line and "'%m/%d/%Y'" in line for line in lines)
    typed = inspected(None, "data.timestamp_format=%d/%m/%Y")
    assert options(typed) == ["data.timestamp_column=day", "data.timestamp_format=%d/%m/%Y"]


def test_ratings_that_are_no_numbers_train_as_implicit_feedback(inspected: Inspect) -> None:
    lines = inspected("user_id,item_id,rating\n" + "".join(f"{n // 5},{n % 7},{n % 5}/5\n" for n in range(60)))
    assert options(lines) == ["data.rating_column=null", "data.split=random", "model=ials"]
    assert any(line.startswith("! ") and "'0/5'" in line for line in lines)


def test_a_table_as_r_writes_it(inspected: Inspect) -> None:
    rows = "".join(f'"{n}" {n // 5} {n % 7} {n % 5 + 1}\n' for n in range(1, 60))
    lines = inspected(f'"user" "item" "rating"\n{rows}')
    assert "data.columns=[row,user,item,rating]" in options(lines)
    assert any("59 " in line for line in lines)


def test_options_that_are_typed_are_taken(inspected: Inspect) -> None:
    rows = RATINGS.split("\n", 1)[1]
    lines = inspected(rows, "data.columns=[item_id,user_id,rating,timestamp]")
    assert "data.columns=[item_id,user_id,rating,timestamp]" in options(lines)
    assert "data.header=false" in options(lines)


def test_standard_output_of_a_program_has_no_control_characters(inspected: Inspect) -> None:
    assert not any("\x1b" in line or line != line.rstrip() for line in inspected(RATINGS))


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((RATINGS + "oops\n").encode())))
    main(["-"])
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    file = next(word.partition("=")[2] for word in words if word.startswith("data.ratings_file="))
    assert Path(file).read_text() == RATINGS + "oops\n"


def test_a_folder(inspected: Inspect, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "r.csv").write_text(RATINGS)
    lines = inspected(None, name=".")
    assert "data.root=. data.ratings_file=r.csv" in lines[-1]
    assert "data.items_file=items.csv" in lines[-1]
    assert any("7 of the 7 items" in line for line in lines)


def test_a_folder_of_many_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text(RATINGS)
    (tmp_path / "b.csv").write_text(RATINGS)
    with pytest.raises(SystemExit, match=r"cannot tell which file .* python -m recsys\.inspect"):
        main([str(tmp_path)])
    assert "ratings: user, item, rating, time" in capsys.readouterr().out


def test_a_root_that_is_typed(inspected: Inspect, tmp_path: Path) -> None:
    lines = inspected(RATINGS, f"data.root={tmp_path}")
    assert f"data.root={tmp_path} data.ratings_file=r.csv" in lines[-1]
    assert "data.root=. data.ratings_file=r.csv" in inspected(None, "ratings_file=r.csv", name=".")[-1]
    with pytest.raises(SystemExit, match=r"data\.ratings_file is r\.csv already"):
        inspected(None, "data.ratings_file=other.csv")


def test_a_folder_without_files(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="the folder has no files"):
        main([str(tmp_path)])


def test_mistakes_are_one_sentence(inspected: Inspect) -> None:
    for words, message in (
        (["data.seperator=,"], r"did you mean data\.separator"),
        (["separator"], "no option 'separator'"),
        (["data.user_column=nobody"], "no column 'nobody'"),
    ):
        with pytest.raises(SystemExit, match=message):
            inspected(RATINGS, *words)
    with pytest.raises(SystemExit, match="no such file"):
        inspected(None, name="x.csv")


def test_inspection_needs_no_torch() -> None:
    code = "import sys, recsys.inspect; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bad_times_are_left_out_or_all_times(inspected: Inspect) -> None:
    rows = [f"{n // 8},{n * 3 % 10},{n % 5 + 1},2009-08-{n % 28 + 1:02}" for n in range(80)]
    header = "user_id,item_id,rating,date\n"
    few = inspected(header + "\n".join([*rows, "9,9,3,20205-01-01"]))
    assert options(few) == ["data.timestamp_column=date", "data.bad_rows=drop"]
    said = "line 82: date must be a time in ISO 8601, got '20205-01-01'; with data.bad_rows=drop such rows are left out"
    assert any(said in line and "data.timestamp_column=null" in line for line in few)
    many = inspected(header + "\n".join(row if n % 5 else row[:-10] for n, row in enumerate(rows)))
    assert options(many) == ["data.timestamp_column=null", "data.split=random"]
    assert any("20% of the rows have such times: data.bad_rows=drop leaves them out" in line for line in many)


def test_a_row_that_is_cut_off_at_a_quote_is_left_out(inspected: Inspect) -> None:
    rows = "".join(f'{n // 8},"Film, The {n * 3 % 10}",{n % 5 + 1}\n' for n in range(80))
    assert "data.bad_rows=drop" in options(inspected("user,film,rating\n" + rows + '9,"Film'))
    lines = inspected("user,film,rating\n" + rows.replace('"', "").replace(", The", '"') + '9,"Film,3\n')
    assert "data.quoting=false" in options(lines)


def test_events_beside_a_few_ratings_are_the_other_reading(inspected: Inspect) -> None:
    kinds = ["view", "view", "purchase", "review"]
    rows = (f"{n // 8},{n * 3 % 10},{kinds[n % 4]},{n % 5 + 1 if n % 4 == 3 else ''}\n" for n in range(160))
    lines = inspected("user,item,event,stars\n" + "".join(rows))
    (warning,) = (line for line in lines if "have no rating" in line)
    assert "75% of the rows have no rating" in warning
    assert "data.rating_column=null 'data.events={view: 1, purchase: 10, review: 1}' model=ials" in warning
