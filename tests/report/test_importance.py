from __future__ import annotations

import itertools
import logging
import math
import random
import warnings
from typing import Any

import pytest

from recsys.report.importance import best_of, importance


def search(n: int, seed: int = 0) -> tuple[list[dict[str, Any]], list[float]]:
    """Settings drawn at random whose figures follow the learning rate, a little the bias, and nothing else."""
    draw = random.Random(seed)
    settings, figures = [], []
    for _ in range(n):
        setting = {
            "rate": 10 ** draw.uniform(-3, -1),
            "dropout": draw.uniform(0, 0.5),
            "dim": draw.choice([8, 16, 32]),
            "bias": draw.choice([True, False]),
            "implicit": draw.choice([None, None, "a", "b", "c"]),
        }
        settings.append(setting)
        figures.append(abs(math.log10(setting["rate"]) + 2) + 0.1 * setting["bias"] + draw.gauss(0, 0.1))
    return settings, figures


@pytest.mark.parametrize("n", [20, 40, 200])
def test_equals_optunas_evaluator(n: int) -> None:
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    optuna.logging.set_verbosity(logging.ERROR)
    settings, figures = search(n)
    spaces: dict[str, Any] = {
        "dim": CategoricalDistribution([8, 16, 32]),
        "bias": CategoricalDistribution([True, False]),
        "implicit": CategoricalDistribution(["a", "b", "c"]),
    }
    for name, log in (("rate", True), ("dropout", False)):
        values = [setting[name] for setting in settings]
        spaces[name] = FloatDistribution(min(values), max(values), log=log)
    study = optuna.create_study()
    for setting, figure in zip(settings, figures, strict=True):
        params = {name: value for name, value in setting.items() if value is not None}
        trial = optuna.trial.create_trial(params=params, distributions={p: spaces[p] for p in params}, value=figure)
        study.add_trial(trial)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=sum(best_of(figures)) / n)
        expected = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert importance(settings, figures) == pytest.approx(expected, abs=1e-9)


def test_what_decides_comes_first_and_shares_add_up_to_one() -> None:
    found = importance(*search(100))
    assert found is not None
    assert next(iter(found)) == "rate"
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(1.0)


def test_a_small_grid_tells_which_side_matters() -> None:
    grid = [{"lambda": one, "dim": other} for one, other in itertools.product([0.1, 0.2], [8, 16, 32])]
    found = importance(grid, [0.90, 0.91, 0.92, 0.95, 0.96, 0.97])
    assert found == pytest.approx({"lambda": 1.0, "dim": 0.0}, abs=1e-9)


def test_constants_and_what_never_applies_are_left_out() -> None:
    settings = [{"one": value, "same": 3, "none": None} for value in range(6)]
    assert importance(settings, [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]) == {"one": 1.0}


def test_true_is_not_one() -> None:
    settings = [{"x": value} for value in (True, 1, True, 1, True, 1)]
    assert importance(settings, [0.1, 0.4, 0.2, 0.5, 0.3, 0.6]) == {"x": 1.0}


def test_nothing_is_said_of_few_settings_or_none_that_differ() -> None:
    assert importance([{"x": value} for value in range(5)], [1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert importance([{"x": 1}] * 6, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) is None
    assert importance([{"x": value} for value in range(6)], [1.0] * 6) is None
    assert importance([], []) is None


def test_how_many_are_the_best() -> None:
    assert [sum(best_of(list(range(n)))) for n in (4, 8, 10, 30, 100, 101)] == [2, 4, 5, 5, 10, 11]
    assert sum(best_of([1, 2, 2, 2, 3, 4])) == 4
