from __future__ import annotations

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from recsys.experiments.search_space import distribution, to_override


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1,2", CategoricalDistribution([1, 2])),
        ("a=choice(mean,zero)", CategoricalDistribution(["mean", "zero"])),
        ("a=choice(true,false)", CategoricalDistribution([True, False])),
        ("a='x','y z'", CategoricalDistribution(["x", "y z"])),
        ("a=range(0.2,0.8,0.2)", FloatDistribution(0.2, 0.6, step=0.2)),
        ("a=interval(0.0,0.5)", FloatDistribution(0.0, 0.5)),
        ("a=tag(log,interval(0.01,1.0))", FloatDistribution(0.01, 1.0, log=True)),
        ("a=tag(log,int(interval(8,256)))", IntDistribution(8, 256, log=True)),
        ("a=range(8,65,8)", IntDistribution(8, 64, step=8)),
    ],
)
def test_what_is_searched(text: str, expected: optuna.distributions.BaseDistribution) -> None:
    assert distribution(OverridesParser.create().parse_override(text)) == expected


@pytest.mark.parametrize("text", ["a=glob(*)", "a=glob([a*,b*])"])
def test_what_cannot_be_searched(text: str) -> None:
    with pytest.raises(ValueError, match=r"a must be a choice\(\), range\(\) or interval\(\)"):
        distribution(OverridesParser.create().parse_override(text))


@pytest.mark.parametrize("text", ["a=range(5,1,-1)", "a=range(1,1)"])
def test_an_empty_range_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"a: range\(\) must be ascending"):
        distribution(OverridesParser.create().parse_override(text))


@pytest.mark.parametrize("value", [None, True, 3, 0.25, 1e-05, "x", "a, 'b'=c", "null"])
def test_values_come_back_from_hydra(value: object) -> None:
    parsed = OverridesParser.create().parse_override(f"a={to_override(value)}").value()
    assert (parsed.text if isinstance(parsed, QuotedString) else parsed) == value
