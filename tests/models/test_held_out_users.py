"""Held-out users in a fit: it never sees their ratings, and they are validated and tested as fold-ins."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import HISTORY, TEST, TRAIN, VAL, UserRatings
from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.evaluate import evaluate, evaluate_ranking
from recsys.evaluation.fit_lists import fit_lists
from recsys.evaluation.holdout import predictions_of
from recsys.models.attention.model import Attention
from recsys.models.held_out_users import _bundle_of_validation_users, validate_last_items
from recsys.models.ials import ImplicitALS
from recsys.models.mf import MatrixFactorization
from recsys.training.export import make_bundle
from tests.small_data import SmallRatings, build, checkerboard, fit, kinds, random_ratings, small_data


def data_of(**arguments: object) -> RatingDataModule:
    return small_data(checkerboard(60, 20), split="held_out_users", test_fraction=0.2, **arguments)


@pytest.mark.parametrize("fit_on", ["train", "train_val"])
def test_a_fit_never_sees_held_out_users(fit_on: str) -> None:
    data = data_of(fit_on=fit_on)
    ratings, split = data.dataset.ratings, data.split
    held_out = set(ratings.loc[split.test, "user_id"])
    assert held_out == set(ratings.loc[split.test_history, "user_id"])
    assert not held_out & set(data.users.values.tolist())
    fitted = np.isin(ratings["user_id"], data.users.values)
    assert np.array_equal(np.flatnonzero(fitted), data.fit_rows)
    made = make_bundle(build(MatrixFactorization, data, embedding_dim=2), data)
    part, user = made.ratings.part, made.ratings.user_index()
    assert set(made.user_ids[np.unique(user[(part == TEST) | (part == HISTORY)])]) >= held_out
    assert (part == TEST).sum() == len(split.test)
    held = len(split.test_history) + (len(split.val_history) if fit_on == "train" else 0)
    assert (part == HISTORY).sum() == held
    assert (part <= (VAL if fit_on == "train_val" else 0)).sum() == len(data.fit_rows)


def test_a_rating_model_is_asked_after_folding_them_in() -> None:
    """Their tastes show in the histories: only who folds them in gets the checkerboard's stars right."""
    data = data_of()
    model = build(MatrixFactorization, data, embedding_dim=4, learning_rate=0.05, reg_lambda=0.01)
    trainer = fit(model, data, 30)
    assert float(trainer.callback_metrics["val/rmse"]) < 0.5
    made = make_bundle(model, data, noise=0.5)
    found = evaluate(made, ranking=True)
    assert found["test/rmse"] is not None
    assert found["baseline/biases"] is not None
    assert found["test/rmse"] < 0.5 < 1.5 < found["baseline/biases"]
    assert found["test/share_cold"] == 1
    flipped = made.ratings.rating.copy()
    flipped[made.ratings.part == HISTORY] = 6 - flipped[made.ratings.part == HISTORY]
    other = evaluate(dataclasses.replace(made, ratings=made.ratings._replace(rating=flipped)))
    assert other["test/rmse"] is not None
    assert other["test/rmse"] > 2


def test_a_ranking_model_is_asked_after_folding_them_in(tmp_path: Path) -> None:
    board = checkerboard(60, 20)
    liked = board[board.rating == 5].reset_index(drop=True)
    data = small_data(liked, split="held_out_users", test_fraction=0.2, implicit=True)
    model = build(ImplicitALS, data, embedding_dim=4)
    trainer = fit(model, data, 3)
    # Ten items of a taste, of which two are left: they are the first two.
    assert float(trainer.callback_metrics["val/ndcg@10"]) == pytest.approx(1)
    found = evaluate(make_bundle(model, data))
    assert found["ranking/ndcg@10"] == found["ranking/ndcg@10_cold_users"] == pytest.approx(1)
    assert found["baseline/popularity_ndcg@10"] is not None
    assert found["baseline/popularity_ndcg@10"] < 0.9
    assert found["ranking/cases"] == found["ranking/cases_cold_users"] == 12
    assert found["ranking/ndcg@10_warm"] is None


def test_the_order_of_lists_is_chosen_for_users_with_their_history() -> None:
    """Validation users have a taste: the mean stars of their own history find it, popularity does not."""
    board = checkerboard(200, 40)
    liked = board[(board.rating == 5) | (board.item_id % 10 == 0)].reset_index(drop=True)
    data = small_data(liked, split="held_out_users", test_fraction=0.2)
    model = build(MatrixFactorization, data, embedding_dim=4, learning_rate=0.05, reg_lambda=0.01)
    fit(model, data, 10)
    made = make_bundle(model, data, noise=0.5)
    without = made.ratings._replace(part=np.where(made.ratings.part == HISTORY, TEST, made.ratings.part))
    found, blind = (fit_lists(one) for one in (made, dataclasses.replace(made, ratings=without)))
    assert found is not None
    assert blind is not None
    assert found["ndcg"]["stars"] > 1.5 * blind["ndcg"]["stars"]


def test_validation_users_and_items_that_were_not_fitted_are_known_by_their_attributes() -> None:
    ratings = random_ratings(200, 20, 150)
    data = RatingDataModule(SmallRatings(ratings, **kinds(ratings)), split="held_out_users", test_fraction=0.3)
    data.setup()
    model = build(MatrixFactorization, data, embedding_dim=4)
    fit(model, data, 2)
    inner = _bundle_of_validation_users(model, data, data.split.val_history, data.split.val)
    whole = make_bundle(model, data)
    assert inner.attributes == whole.attributes != []
    asked = np.flatnonzero(inner.ratings.part == TEST)
    user, item = inner.ratings.user_index()[asked], inner.ratings.item[asked].astype(np.int64)
    assert len(np.unique(item[item >= len(data.items)])) > 1
    assert inner.item_ids[item].tolist() == whole.item_ids[item].tolist()
    expected = [
        whole.fold_in_rows(
            inner.ratings.item[rows], inner.ratings.rating[rows], whole.attributes_of(who)
        ).vector  # of the history alone
        for who in user.tolist()
        for rows in [np.flatnonzero((inner.ratings.user_index() == who) & (inner.ratings.part == HISTORY))]
    ]
    stars = [whole.predictions_for(vector, item[[n]]).mean[0] for n, vector in enumerate(expected)]
    np.testing.assert_allclose(predictions_of(inner, user, item).mean, stars, atol=1e-4)


def test_the_learning_rate_follows_the_error_after_folding_in() -> None:
    data = data_of()
    model = build(MatrixFactorization, data, embedding_dim=4)
    fit(model, data, 1)
    assert model.plateau_metric == "val/rmse"


@pytest.mark.parametrize("split", ["user_time", "global_time"])
def test_a_model_of_histories_is_validated_on_what_each_user_does_last(
    split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_data(random_ratings(600, 30, 40), split=split)
    model = build(Attention, data, embedding_dim=16, max_length=10)
    trainer = fit(model, data, 2)
    made = make_bundle(model, data)
    rated, kept = made.ratings, made.ratings.part != TEST
    assert rated.timestamp is not None
    user = rated.user_index()[kept]
    known = UserRatings(
        np.append(0, np.cumsum(np.bincount(user, minlength=len(made.user_ids)))),
        rated.item[kept], rated.rating[kept], np.where(rated.part[kept] == VAL, TEST, TRAIN).astype(np.uint8),
        rated.timestamp[kept],
    )  # fmt: skip
    wanted = evaluate_ranking(dataclasses.replace(made, ratings=known), "last")["ranking_last/ndcg@10"]
    assert float(trainer.callback_metrics["val_last/ndcg@10"]) == pytest.approx(wanted, abs=1e-6)
    assert float(trainer.callback_metrics["val/ndcg@10"]) != pytest.approx(wanted, abs=1e-6)
    every = validate_last_items(model.eval(), data)
    monkeypatch.setattr("recsys.models.held_out_users.MOST_USERS", 3)
    some = validate_last_items(model, data)
    assert some == validate_last_items(model, data) != every
