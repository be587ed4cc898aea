import numpy as np
import pytest

from recsys.bundle.factors import Factors
from recsys.bundle.fold_in import fold_in
from recsys.models.mf import MatrixFactorization
from recsys.training.export import expect_bias_spread, make_bundle
from tests.small_data import build, fit, random_ratings, small_data


def test_the_bias_of_someone_with_one_rating_is_expected_to_be_spread_like_the_others(two_by_three: Factors) -> None:
    """`b` minimises `(surprise - b)^2 + (1 + noise^2 / variance) b^2`: one rating no longer decides the level."""
    spread = expect_bias_spread(two_by_three, noise=1.5)
    assert spread.prior_exponent.tolist() == [1, 0]
    precision = 1.5**2 / 0.25
    np.testing.assert_allclose(np.diag(spread.prior_precision[1, 0]), [0, 0, precision])
    assert np.count_nonzero(spread.prior_precision[1]) == 1
    item, rating = np.array([0]), np.array([5], np.float32)
    before = fold_in(two_by_three, item, rating).vector.bias.item()
    after = fold_in(spread, item, rating).vector.bias.item()
    assert 0 < after < before / 3


def test_with_much_known_the_spread_hardly_matters() -> None:
    data = small_data(random_ratings(1500, 30, 60))
    model = build(MatrixFactorization, data, embedding_dim=4)
    fit(model, data, 3)
    plain, spread = make_bundle(model, data), make_bundle(model, data, noise=1.0)
    assert plain.manifest["noise"] is None
    assert spread.manifest["noise"] == 1.0
    for user in range(5):
        a, b = plain.fold_in_user(user).vector, spread.fold_in_user(user).vector
        assert np.corrcoef(plain.factors.scores(a), spread.factors.scores(b))[0, 1] > 0.98


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_noisier_ratings_move_a_newcomer_less(two_by_three: Factors, noise: float) -> None:
    item, rating = np.array([1]), np.array([5], np.float32)
    vectors = [fold_in(expect_bias_spread(two_by_three, n), item, rating).vector for n in (noise, 2 * noise)]
    assert vectors[0].bias.item() > vectors[1].bias.item() > 0


@pytest.mark.parametrize("timed", [True, False])
def test_each_rating_keeps_its_time_where_the_source_has_one(timed: bool) -> None:
    ratings = random_ratings(60, 6, 20)
    data = small_data(ratings if timed else ratings.drop(columns="timestamp"))
    bundle = make_bundle(build(MatrixFactorization, data, embedding_dim=2), data)
    assert bundle.manifest["split"] == "random"
    rated = bundle.ratings
    if not timed:
        assert rated.timestamp is None
        return
    assert rated.timestamp is not None
    pairs = zip(bundle.user_ids[rated.user_index()], bundle.item_ids[rated.item], rated.timestamp, strict=True)
    assert sorted(pairs) == sorted(zip(ratings.user_id, ratings.item_id, ratings.timestamp, strict=True))
