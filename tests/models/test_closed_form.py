"""What models in sweeps share: what they refuse, where they begin."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from recsys.bundle.storage import BundleError
from recsys.data.datamodule import RatingDataModule
from recsys.models.als import ALS
from recsys.training.export import make_bundle
from tests.small_data import build, checkerboard, fit, random_ratings, small_data


def error(model: ALS, data: RatingDataModule) -> float:
    rows = data.fit_data.columns
    return float((model(rows.user, rows.item) - (1 + 4 * rows.rating)).square().mean())


@cache
def tastes() -> RatingDataModule:
    return small_data(checkerboard(), test_fraction=0.2)


@cache
def fitted() -> ALS:
    """A model of two tastes, which no test changes."""
    model = build(ALS, tastes(), embedding_dim=3)
    assert isinstance(model, ALS)
    fit(model, tastes(), epochs=20, limit_val_batches=0)
    return model


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_a_warm_start_begins_where_a_bundle_ended(dim: int, tmp_path: Path) -> None:
    data, first = tastes(), fitted()
    make_bundle(first, data).save(tmp_path / "bundle")
    warm, cold = (build(ALS, data, embedding_dim=dim, warm_start=path) for path in (str(tmp_path / "bundle"), None))
    for model in (warm, cold):
        fit(model, data, epochs=1, limit_val_batches=0)
    assert error(warm, data) < 0.9 * error(cold, data)
    if dim >= 3:
        assert error(warm, data) == pytest.approx(error(first, data), abs=0.02)


def test_a_warm_start_knows_users_and_items_by_their_ids(tmp_path: Path) -> None:
    """Those of other ids begin from nothing, and others lie in other rows."""
    few, more = random_ratings(60, 10, 10), random_ratings(150, 14, 14)
    data = small_data(few, fit_on="all")
    first = build(ALS, data, embedding_dim=2)
    fit(first, data, epochs=10, limit_val_batches=0)
    make_bundle(first, data).save(tmp_path / "bundle")
    factors = first.factors()
    larger = small_data(more, fit_on="all")
    warm = build(ALS, larger, embedding_dim=2, warm_start=str(tmp_path / "bundle"))
    fit(warm, larger, epochs=0, limit_val_batches=0)
    known = {user: row for row, user in enumerate(data.users.values.tolist())}
    for row, user in enumerate(larger.users.values.tolist()):
        if user in known:
            expected = torch.from_numpy(factors.user_factors[known[user], 0])
            torch.testing.assert_close(warm.user_rows[row, :2].detach(), expected)


def test_a_warm_start_from_no_bundle_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    data = tastes()
    with pytest.raises(BundleError, match="nowhere"):
        fit(build(ALS, data, warm_start=str(tmp_path / "nowhere")), data, epochs=1)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "16-true"])
def test_sweeps_need_full_precision(precision: str) -> None:
    data = tastes()
    with pytest.raises(ValueError, match=rf"trainer\.precision must be .*32-true.*, got {precision}"):
        fit(build(ALS, data, embedding_dim=2), data, epochs=1, precision=precision)
