"""What a person types reaches a configuration as it was typed."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from recsys.experiments.overrides import FILES, LISTS, TEXTS, quote_override, typed_override

ODD = [
    "/data/lr=0.1,dim=8", "my runs/1", "it's", 'a "b" c', "a[1]", "(a) {b}: #1", "-x", "0", "2024", "1.5", "true",
    "True", "inf", "NULL", "ü/é", "a~", "a\\", "a\\'b", "'", "'a", "$x", "nul", "1_000", "1e5", "007", "1.0", "1.10",
    "My rating (1-5)", "Book-Title", "评分", "a;b", ";", ",", "|", "::", "\\t", "\t", " ", "%d.%m.%Y %H:%M", "a=b",
    "select * from t where a = 'x' and b in (1, 2)", "[a", "a]", "{", "a: b", "@", "&", "x\ny", "*.csv", "~",
]  # fmt: skip


def parsed(text: str) -> Any:
    """The value that a configuration holds after this argument."""
    override = OverridesParser.create().parse_override(quote_override(text))
    assert not override.is_sweep_override()
    cfg = OmegaConf.create({"value": override.value()})
    OmegaConf.resolve(cfg)
    value = OmegaConf.to_container(cfg)
    assert isinstance(value, dict)
    return value["value"]


@pytest.mark.parametrize("text", ODD)
def test_a_text_arrives_as_it_was_typed(text: str) -> None:
    for key in ("data.root", "data.separator", "data.rating_column", "out"):
        assert parsed(f"{key}={text}") == text
        assert parsed(f"+{key}={text}") == text
        assert typed_override(quote_override(f"{key}={text}")) == f"{key}={text}"


def test_random_texts_arrive_as_they_were_typed() -> None:
    draw = random.Random(0)
    for _ in range(300):
        text = "".join(draw.choices("ab1.,;:=()[]{}'\"\\#~ %éü|@-+_0e\t", k=draw.randint(2, 8)))
        if text[0] != text[-1] and "\\" not in text and not text.startswith("~/"):
            assert parsed(f"data.name={text}") == text


@pytest.mark.parametrize("key", sorted(TEXTS | LISTS))
def test_every_key_of_text_takes_a_number_for_text(key: str) -> None:
    assert parsed(f"{key}=1.0") in ("1.0", ["1.0"])
    assert parsed(f"{key}=null") is None


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("users=[1.10]", ["1.10"]),
        ("users=[1_000, 1e5,true,null,007,1.0]", ["1_000", "1e5", "true", "null", "007", "1.0"]),
        ("users=['a, b',it's,\"c\"]", ["a, b", "it's", "c"]),
        ("users=[a\\,b,c]", ["a,b", "c"]),
        ("users=1.10", "1.10"),
        ("users=a,b", "a,b"),
        ("users=[]", []),
        ("data.columns=[user_id,item_id,My rating (1-5)]", ["user_id", "item_id", "My rating (1-5)"]),
        ("data.columns=user_id,item_id,0", ["user_id", "item_id", "0"]),
        ("data.missing=[99,-1,NA]", ["99", "-1", "NA"]),
        ("data.missing=[99,,NA]", ["99", "", "NA"]),
        ("data.missing=99", ["99"]),
        ("data.ratings_file=[a (1).csv,b=2.csv]", ["a (1).csv", "b=2.csv"]),
        ("data.ratings_file=a,b (1).csv", "a,b (1).csv"),
        ("data.ratings_file=2024.csv", "2024.csv"),
        ("data.ratings_file=-", "-"),
        ("data.events={view: 1, cart: 3}", {"view": 1, "cart": 3}),
        ("data.events={view:1,cart:2.5}", {"view": 1, "cart": 2.5}),
        ("data.events={add to cart: 3, buy (online): 10,é: 2}", {"add to cart": 3, "buy (online)": 10, "é": 2}),
        ("data.events={it's: 1, 1: 2, true: 3, type:view: -4}", {"it's": 1, "1": 2, "true": 3, "type:view": -4}),
        ("data.events={'a, b': 1, \"c: d\": 2}", {"a, b": 1, "c: d": 2}),
        ("data.events={}", {}),
        ("data.events=[view,add to cart,1]", ["view", "add to cart", "1"]),
        ("data.events=add to cart", "add to cart"),
        ("data.missing=auto", "auto"),
    ],
)  # fmt: skip
def test_lists_and_mappings_of_texts(typed: str, value: Any) -> None:
    assert parsed(typed) == value


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("run='a b'", "a b"),
        ('data.root="a, b"', "a, b"),
        ("data.root=a\\ b\\,c", "a b,c"),
        ("data.separator=\\,", ","),
        ("data.user_column='null'", "null"),
        ("data.separator='\\''", "'"),
    ],
)
def test_what_is_quoted_or_escaped_for_hydra_still_works(typed: str, value: str) -> None:
    assert quote_override(typed) == typed
    assert parsed(typed) == value


@pytest.mark.parametrize(
    "typed",
    ["run=/a/b-1_2.3", "run=../b", "run=", "run=null", "run=${oc.env:HOME}/a b", "model.dropout=0.1,0.2",
     "seeds=[0, 1]", "data.root_=a b", "run", "--multirun", "data.user_column=user_id", "data.columns=null",
     "~data.name", "data.events=${events}", "hydra.sweep.dir=${x}", "model.embedding_dim=choice(16,32)"],
)  # fmt: skip
def test_all_else_stays_as_it_was_typed(typed: str) -> None:
    assert quote_override(typed) == typed
    assert typed_override(typed) == typed


def test_interpolations_are_quoted_with_the_text_around_them() -> None:
    override = quote_override("data.root=${oc.env:HOME}/a (1), b")
    assert OverridesParser.create().parse_override(override).value() == "${oc.env:HOME}/a (1), b"


@pytest.mark.parametrize("key", sorted(FILES))
def test_home_is_meant_by_a_tilde(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me (1)")
    assert parsed(f"{key}=~/outputs/1") == "/home/me (1)/outputs/1"
    assert parsed("data.name=~/1") == "~/1"


@pytest.mark.parametrize(
    ("typed", "jobs"),
    [
        ("data.separator=choice(',',;,|,\\t)", ["','", "';'", "'|'", "'\\t'"]),
        ("data.user_column=choice(0,user_id)", ["'0'", "user_id"]),
        ("data.missing=choice([99],[-1,NA])", ["['99']", "['-1',NA]"]),
    ],
)
def test_a_sweep_over_texts(typed: str, jobs: list[str]) -> None:
    override = OverridesParser.create().parse_override(quote_override(typed))
    assert list(override.sweep_string_iterator()) == jobs
    assert typed_override(quote_override("data.separator=choice(;,|)")) == "data.separator=choice(;,|)"


@pytest.mark.parametrize("value", ["view:1", "{view}", "{view: much}", "{view: 1, cart}", "{view: 1"])
def test_a_mapping_that_is_none(value: str) -> None:
    with pytest.raises(ValueError, match=r"data\.events must be a mapping .*, in quotes for the shell, got "):
        quote_override(f"data.events={value}")
