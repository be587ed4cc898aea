from pathlib import Path

import numpy as np
import pytest

from recsys.bundle.factors import Factors
from recsys.bundle.fold_in import fold_in
from recsys.data.datamodule import RatingDataModule
from recsys.data.sources import TabularRatings
from recsys.models.attention.model import Attention
from recsys.models.ials import ImplicitALS
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


EVENTS = "who,what,event,when\n" + "".join(
    f"{n % 9},{n % 13},{('view', 'cart', 'purchase')[n % 5 % 3]},{1_700_000_000 + 60 * n}\n" for n in range(110)
)


def test_kinds_of_events_are_read_and_exported(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(EVENTS)
    source = TabularRatings(str(tmp_path), "r.csv", events={"view": 1, "purchase": 10, "cart": 3})
    data = RatingDataModule(source, split="leave_one_out")
    data.setup()
    model = build(Attention, data, embedding_dim=16, max_length=10)
    fit(model, data, 1)
    bundle = make_bundle(model, data)
    assert bundle.manifest["events"] == ["view", "cart", "purchase"]
    rated, wanted = bundle.ratings, {0.0: "view", 0.5: "cart", 1.0: "purchase"}
    found = zip(bundle.user_ids[rated.user_index()], bundle.item_ids[rated.item], rated.rating.tolist(), strict=True)
    kinds = {(user, item): wanted[stars] for user, item, stars in found}
    lines = [line.split(",") for line in EVENTS.splitlines()[1:]]
    assert kinds == {(int(user), int(item)): kind for user, item, kind, _ in lines}  # the latest of each
    assert len(set(model.history_rating.tolist())) == 3
    known = {int(item): kind for user, item, kind, _ in lines if user == "3"}
    del known[int([line for line in lines if line[0] == "3"][-1][1])]  # the test row, and the validation row
    del known[int([line for line in lines if line[0] == "3"][-2][1])]
    times = {int(item): int(when) for user, item, _, when in lines if user == "3"}
    row = int(np.flatnonzero(bundle.user_ids == 3)[0])
    np.testing.assert_allclose(bundle.fold_in(known, times=times).vector.factors, bundle.vector(row).factors, atol=1e-5)
    assert "events" not in make_bundle(build(ImplicitALS, data), data).manifest
