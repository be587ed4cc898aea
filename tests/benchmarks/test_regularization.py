"""A penalty by side: without changes it is that of `mf`, and its strengths weigh what they name."""

from __future__ import annotations

import pytest
import torch

from benchmarks.regularization import CHANGES, SplitPenalty
from recsys.models.mf import MatrixFactorization
from tests.small_data import random_ratings, small_data

ARGUMENTS = {"embedding_dim": 3, "reg_lambda": 0.1, "reg_exponent": 0.5, "bias_reg_lambda": 0.2, "bias_shrinkage": 2.0}


def penalty(model: MatrixFactorization) -> float:
    data = small_data(random_ratings(200, 20, 15))
    rows = data.rows(data.fit_rows)
    model.init_from_data(rows)
    with torch.no_grad():
        return float(model.training_terms(rows.columns.user, rows.columns.item)[1])


def split(**changes: float) -> float:
    return penalty(SplitPenalty(20, 15, changes, **ARGUMENTS))


def test_without_changes_it_is_that_of_mf() -> None:
    plain = penalty(MatrixFactorization(20, 15, **ARGUMENTS))
    assert split() == pytest.approx(plain, rel=1e-5)
    assert split(user_bias_strength=1, bias_exponent=1) == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("name", ["strength", "bias_strength"])
def test_strengths_add_up(name: str) -> None:
    plain, user, item = split(), split(**{f"user_{name}": 3}), split(**{f"item_{name}": 3})
    both = split(**{f"user_{name}": 3, f"item_{name}": 3})
    assert user > plain < item
    assert user + item - plain == pytest.approx(both, rel=1e-4)


def test_every_change_has_an_effect() -> None:
    plain = split()
    for name, changes in CHANGES.items():
        assert (split(**changes) != pytest.approx(plain, rel=1e-4)) == bool(changes), name
