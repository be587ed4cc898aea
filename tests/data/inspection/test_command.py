from __future__ import annotations

import shlex
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from recsys.data.inference.finding import Finding
from recsys.data.inspection.command import training_command
from recsys.experiments.overrides import quote_override


def command(file: str = "r.csv", root: str | None = None, *, implicit: bool = False, timed: bool = True,
            settings: dict[str, Any] | None = None, **found: Any) -> str:  # fmt: skip
    findings = [Finding(option, value, "") for option, value in found.items()]
    return training_command(file, root, findings, settings or {}, implicit=implicit, timed=timed)


def read_by_train(text: str) -> dict[str, Any]:
    """Options of the command, after the shell and Hydra."""
    words = shlex.split(text)
    assert words[:3] == ["python", "-m", "recsys.train"]
    overrides = OverridesParser.create().parse_overrides(list(map(quote_override, words[3:])))
    config = OmegaConf.create({one.key_or_group: one.value() for one in overrides})
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def test_what_is_usual_is_left_out() -> None:
    usual = {"separator": ",", "header": True, "user_column": "user_id", "timestamp_format": "seconds", "rating_min": 1}
    assert command(**usual) == "python -m recsys.train data=tabular data.ratings_file=r.csv"


def test_without_times_the_split_is_random_and_implicit_feedback_is_ranked() -> None:
    found = command(timed=False, implicit=True, rating_column=None)
    assert found.endswith("data.rating_column=null data.split=random model=ials")
    assert "data.split=kfold" in command(timed=False, settings={"split": "kfold"})


def test_settings_go_before_findings() -> None:
    assert "data.user_column=b" in command(user_column="a", settings={"user_column": "b"})


@pytest.mark.parametrize(
    "value",
    ["User ID", "a=b", "a,b", "it's", 'say "x"', "Café", "1.10", "007", "$HOME", "`ls`", "a\\b", "x (1)", "null?",
     "%d.%m.%Y", "[a]", "{a}", "a;b", "~", "#", "!"],
)  # fmt: skip
def test_a_name_of_a_column_survives_shell_and_hydra(value: str) -> None:
    assert read_by_train(command(user_column=value))["data.user_column"] == value


@pytest.mark.parametrize("file", ["my ratings (1).csv", "a=b.csv", "ü,1.csv", "it's.csv", "/tmp/x y/r.csv"])
def test_a_name_of_a_file_survives_shell_and_hydra(file: str) -> None:
    assert read_by_train(command(file))["data.ratings_file"] == file


@pytest.mark.parametrize(
    ("option", "value"),
    [("missing", [99, -1]), ("missing", [0]), ("columns", ["a", "b c", "d,e", "it's"]),
     ("events", {"view": 1, "add to cart": 3}), ("events", {"a,b": 1, "c:d": 2.5}), ("quoting", False),
     ("sheet", "Blatt 1"), ("decimal", ","),
     ("ignored_columns", ["0"])],
)  # fmt: skip
def test_other_values_survive_shell_and_hydra(option: str, value: Any) -> None:
    read = read_by_train(command(**{option: value}))[f"data.{option}"]
    assert [*map(str, read)] == [*map(str, value)] if isinstance(value, list) else read == value


@pytest.mark.parametrize(("separator", "name"), [("\t", "tab"), (";", "semicolon"), (" ", "space"), ("::", "::")])
def test_separators_are_written_by_name(separator: str, name: str) -> None:
    assert shlex.split(command(separator=separator))[-1] == f"data.separator={name}"


def test_a_format_that_the_name_tells_is_left_out() -> None:
    assert "format" not in command("a.jsonl.gz", format="jsonl")
    assert "data.format=jsonl" in command("a.txt", format="jsonl")
