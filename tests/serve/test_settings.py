"""Flags go before the environment, which goes before defaults."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from recsys.bundle import Budget
from recsys.bundle.ids import MAX_ID_LENGTH
from serve.flags import read_settings
from serve.settings import GROUPS, Settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"RECSYS_{name.upper()}", raising=False)


def given(monkeypatch: pytest.MonkeyPatch, *flags: str, **environment: str) -> Settings:
    for name, text in environment.items():
        monkeypatch.setenv(f"RECSYS_{name}", text)
    monkeypatch.setattr("sys.argv", ["serve", *flags])
    return read_settings()


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(monkeypatch)
    assert (found.host, found.port, found.workers, found.max_body_bytes) == ("127.0.0.1", 8000, 1, 1_000_000)
    assert found.bundle is None
    assert found.exposes_user_ratings


def test_the_budget_of_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch).budget == Budget()
    found = given(monkeypatch, "--max-bundle-bytes", "5", "--max-bundle-memory", "2000000", MAX_BUNDLE_WORK="7")
    assert found.budget == Budget(bytes=5, memory=2_000_000, work=7)


def test_every_id_fits_into_a_header() -> None:
    path = quote(MAX_ID_LENGTH * chr(0x10FFFF), safe="")
    assert len(path) + 4096 < Settings().max_header_bytes


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(
        monkeypatch, BUNDLE="/some/where", PORT="81", HISTORIES="false", WORKERS="3", MAX_IN_FLIGHT="7",
        POLL_SECONDS="0.5", LOG_LEVEL="debug", HOST="::", POINTER="",
    )  # fmt: skip
    assert (found.bundle, found.port, found.expose_user_ratings, found.workers) == (Path("/some/where"), 81, False, 3)
    assert (found.max_in_flight, found.poll_seconds, found.log_level, found.host) == (7, 0.5, "debug", "::")
    assert found.pointer is None  # empty is not given


def test_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(monkeypatch, "--port", "82", "--bundle", "b", "--no-histories", BUNDLE="a", PORT="81")
    assert (found.port, found.bundle, found.expose_user_ratings) == (82, Path("b"), False)


@pytest.mark.parametrize(
    ("flags", "exposed"),
    [([], True), (["--host", "localhost"], True), (["--host", "0.0.0.0"], False), (["--no-histories"], False),
     (["--host", "::", "--expose-user-ratings"], True), (["--host", "::", "--histories"], True),
     (["--trusted-proxies", "127.0.0.1"], False)],
)  # fmt: skip
def test_ratings_are_exposed_to_this_machine_only(
    monkeypatch: pytest.MonkeyPatch, flags: list[str], exposed: bool
) -> None:
    assert given(monkeypatch, *flags).exposes_user_ratings is exposed


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rate-limit", "many"], "rate-limit: .*'many'"),
        (["--rate-limit", "5/fortnight"], "rate-limit: .*'5/fortnight'"),
        (["--allowed-hosts", "a,http://b"], "allowed-hosts: .*'http://b' is not"),
        (["--allowed-hosts", "a.*.org"], "allowed-hosts"),
        (["--cors-origins", "https://a.org/"], "cors-origins: must be like https://"),
        (["--cors-origins", "null"], "cors-origins"),
        (["--cors-origins", "*"], "cors_origins . would let every web page"),
        (["--trusted-proxies", "10.0.0.0/8 proxy"], "trusted-proxies: .*'proxy' is not"),
        (["--rate-limit", "0/minute"], "rate-limit: .*'0/minute'"),
        (["--port", "abc"], "port: must be a whole number from 0 to 65535, got 'abc'"),
        (["--port", "65536"], "port: .*65535.*'65536'"),
        (["--workers", "0"], "workers: .*1.*'0'"),
        (["--log-level", "loud"], "log-level: .*debug.*'loud'"),
        (["--poll-seconds", "nan"], "poll-seconds: must be a number above 0, at most 3600, got 'nan'"),
        (["--max-bundle-memory", "4GB"], "max-bundle-memory: must be a whole number of at least 1048576, got '4GB'"),
        (["--poll-seconds", "0"], "poll-seconds"),
        (["--drain-seconds", "-1"], "drain-seconds"),
        (["--max-body-bytes", "-1"], "max-body-bytes"),
        (["--port", "81", "--operations-port", "81"], "port and operations_port must be two ports, got 81 for both"),
        (["--bundle", "a", "--pointer", "b"], ".*bundle or pointer, not both"),
    ],
)
def test_a_mistake_is_one_sentence(monkeypatch: pytest.MonkeyPatch, flags: list[str], said: str) -> None:
    with pytest.raises(SystemExit, match=rf"^error: {said}[^\n]*$"):
        given(monkeypatch, *flags)


def test_a_mistake_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"^error: RECSYS_PORT: must be a whole number from 0 to 65535, got 'many'$"):
        given(monkeypatch, PORT="many")
    with pytest.raises(SystemExit, match=r"^error: RECSYS_INSECURE: must be true or false, got 'maybe'$"):
        given(monkeypatch, "--port", "1", INSECURE="maybe")
    with pytest.raises(SystemExit, match=r"^error: port: "):  # the flag goes first
        given(monkeypatch, "--port=-1", PORT="2")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--nonsense", "1"], "unrecognized arguments: --nonsense 1; see python -m serve --help"),
        (["--ports=1"], "unrecognized arguments: --ports=1; did you mean --port?"),
        (["--bundle"], "argument --bundle: expected one argument; see python -m serve --help"),
    ],
)
def test_a_mistyped_flag_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        given(monkeypatch, *flags)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {said}\n"


def test_a_password_is_refused_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"^error: database: must have no password on the command line") as ended:
        given(monkeypatch, "--database", "postgresql://u:s3cret@db/shop")
    assert "s3cret" not in str(ended.value.code)
    assert given(monkeypatch, DATABASE="postgresql://u:s3cret@db/shop").database == "postgresql://u:s3cret@db/shop"


def test_a_flag_and_a_variable_that_contradict_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="RECSYS_BUNDLE"):
        given(monkeypatch, "--pointer", "p", BUNDLE="b")


def test_help_names_every_setting(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        given(monkeypatch, "--help")
    assert not ended.value.code
    told = capsys.readouterr().out
    for name, about in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in told
        assert about.description
    assert "RECSYS_" in told
    assert "None" not in told
    assert "--histories" not in told
    headings = [line.removesuffix(":") for line in told.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == ["options", *GROUPS]


def test_each_setting_is_in_one_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(Settings.model_fields)
