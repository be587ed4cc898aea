"""Attention over histories: what is exported is what was trained, and the NumPy encoder is the torch one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys.bundle.encoder import Encoder
from recsys.bundle.encoder_events import KNOTS, events_of
from recsys.bundle.encoder_fold_in import EncoderFoldIn
from recsys.data.batches import RatingRows
from recsys.data.histories import Histories, padded_windows, starts_of
from recsys.models.attention import layers
from recsys.models.attention import stars as module
from recsys.models.attention.cross_fitting import Attributes
from recsys.models.attention.heads import Rows
from recsys.models.attention.layers import CausalAttention, Dropout, causal_attention
from recsys.models.attention.model import Attention
from recsys.models.attention.softmax import sampled_items, softmax_loss
from recsys.models.attention.stars import NextStars, _directions
from tests.small_data import build, fit, random_ratings, small_data

N_USERS, N_ITEMS = 40, 50
FIRST = np.zeros(1, np.int64)


def some_histories(*, timed: bool, longest: int = 60) -> Histories:
    """Histories of every length, with times from seconds to years apart."""
    random = np.random.default_rng(0)
    length = np.append(np.arange(1, longest + 1, 2), random.integers(1, longest, N_USERS))[:N_USERS]
    user = torch.repeat_interleave(torch.arange(N_USERS), torch.from_numpy(length))
    time = [np.sort(random.integers(0, 10 ** random.integers(1, 9), n)) + 900_000_000 for n in length]
    return Histories(
        user,
        torch.from_numpy(random.integers(0, N_ITEMS, len(user))),
        torch.from_numpy(random.integers(0, 5, len(user)) / 4).float(),
        starts_of(user, N_USERS),
        torch.from_numpy(np.concatenate(time)) if timed else None,
    )


def many_histories() -> Histories:
    """Of enough users to calibrate by, whose ratings nothing explains."""
    random = np.random.default_rng(1)
    length = random.integers(20, 60, 400)
    user = torch.repeat_interleave(torch.arange(400), torch.from_numpy(length))
    rating = torch.from_numpy(random.integers(0, 4, len(user)) / 4).float()
    item = torch.from_numpy(random.integers(0, N_ITEMS, len(user)))
    return Histories(user, item, rating, starts_of(user, 400), None)


def some_model(histories: Histories, **arguments: object) -> Attention:
    """A model with weights that are not small, as after training."""
    n_users = len(histories.start) - 1
    model = Attention(n_users, N_ITEMS, **{"embedding_dim": 32, "max_length": 30, **arguments})  # type: ignore[arg-type]
    model._set_histories(histories)
    if isinstance(model.head, NextStars):
        model.head.stand_on(model.head._short_als(histories, n_users, N_ITEMS), histories, Attributes())
    model.init_from_data(RatingRows(histories.user, histories.item, histories.rating))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        if isinstance(model.head, NextStars):
            model.head.get_buffer("slope").copy_(torch.rand(KNOTS, generator=generator))
            model.head._is_calibrated = True  # so that it stays
    return model.eval()


@pytest.mark.parametrize(("timed", "query_time"), [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize("max_length", [1, 7, 100])
@pytest.mark.parametrize(("task", "most_read"), [("ranking", 256), ("rating", 256), ("rating", 8)])
def test_the_numpy_encoder_is_the_torch_one(
    timed: bool, query_time: bool, max_length: int, task: str, most_read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_READ", most_read)
    histories = some_histories(timed=timed)
    model = some_model(histories, max_length=max_length, query_time=query_time, task=task, rating_max=9.0)
    factors, encoder = model.factors(), model.encoder()
    assert isinstance(encoder, Encoder)
    for user in range(N_USERS):
        rows = slice(int(histories.start[user]), int(histories.start[user + 1]))
        item, stars = histories.item[rows].numpy(), 1 + 8 * histories.rating[rows].numpy()
        time = None if histories.time is None else histories.time[rows].numpy()

        def after(n: int) -> EncoderFoldIn:
            known = None if time is None else time[:n]  # noqa: B023
            return EncoderFoldIn(factors, item[:n], stars[:n], encoder, (1.0, 9.0), None, time=known)  # noqa: B023

        whole = after(len(item))
        np.testing.assert_allclose(whole.vector.factors, factors.user_factors[user], atol=1e-4)
        np.testing.assert_allclose(whole.vector.bias, factors.user_bias[user], atol=1e-4)
        for piece, vectors in whole.running_vectors(np.arange(1, len(item) + 1), None):
            for n, factors_then, bias in zip(
                range(piece.start, piece.stop), vectors.factors, vectors.bias, strict=True
            ):
                alone = after(n + 1).vector
                np.testing.assert_allclose(factors_then, alone.factors, atol=2e-4)
                np.testing.assert_allclose(bias, alone.bias, atol=2e-4)


def test_without_times_the_order_alone_is_read() -> None:
    histories = some_histories(timed=True)
    model = some_model(histories, times=False)
    encoder = model.encoder()
    assert isinstance(encoder, Encoder)
    assert not encoder.has_times
    assert histories.time is not None
    stretched = some_model(histories._replace(time=histories.time**2), times=False)
    assert torch.equal(model.vectors(), stretched.vectors())


def test_the_time_of_the_question_is_read_as_in_training() -> None:
    histories = some_histories(timed=True)
    model, n = some_model(histories, query_time=True), histories.start.diff().numpy()
    encoder, table = model.encoder(), model.factors().item_factors[:, 0]
    assert histories.time is not None
    asked = histories.time.numpy()[histories.start.numpy()[1:] - 1] + 10 ** (np.arange(N_USERS) % 9)
    unasked = model.vectors()
    model._ask(asked)
    wanted = (model.vectors() - unasked.mean(0)).numpy()  # [p, b], b is 0
    for user in range(N_USERS):
        rows = slice(int(histories.start[user]), int(histories.start[user + 1]))
        columns = (histories.item, histories.rating, histories.time)
        events = events_of(*(column[rows].numpy() for column in columns), FIRST)
        np.testing.assert_allclose(encoder.vector(table, events, int(asked[user])), wanted[user], atol=1e-4)
        twice = encoder.vectors(table, events, np.array([n[user]] * 2), np.array([asked[user], asked[user] + 10**8]))
        np.testing.assert_allclose(twice[0], wanted[user], atol=1e-4)
        assert np.abs(twice[1] - twice[0]).max() > 0.01


def test_items_are_read_along_the_leading_directions_of_those_that_are_rated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_READ", 5)
    random = np.random.default_rng(0)
    items = (random.normal(size=(40, 5)) @ random.normal(size=(5, 20))).astype(np.float32)
    items[-1] = random.normal(0, 50, 20)  # which nobody rated
    found = _directions(items, np.append(np.ones(39, np.int64), 0), seed=0)
    np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-5)
    np.testing.assert_allclose(items[:39] @ found @ found.T, items[:39], atol=1e-4)
    size = np.square(items[:39] @ found).mean(0)
    assert size.max() < 5 * size.min()
    np.testing.assert_array_equal(_directions(items[:, :3], np.ones(40, np.int64), seed=0), np.eye(3))


def test_a_state_brings_its_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_READ", 8)
    histories = some_histories(timed=False)
    batch = padded_windows(*(np.array([row]) for row in (0, 0, int(histories.start[3]))))

    def read(model: Attention) -> torch.Tensor:
        model.train()
        return model.head.read(batch.row, histories.item[batch.row], histories.rating[batch.row], None)

    one = some_model(histories, task="rating")
    monkeypatch.setattr(module, "_directions", lambda *args, **_: _directions(*args[:2], seed=1))
    other = some_model(histories, task="rating")
    assert not torch.allclose(read(one), read(other), atol=0.01)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(read(one), read(other), atol=1e-4, rtol=0)


def test_an_export_does_not_depend_on_dropout() -> None:
    model = some_model(some_histories(timed=True), dropout=0.5)
    still = model.factors().user_factors
    model.train()
    np.testing.assert_array_equal(model.factors().user_factors, still)
    assert model.training


@pytest.mark.parametrize("query_time", [False, True])
@pytest.mark.parametrize("places", [[0, 3, 38], [36, 37, 38], [38], []])
def test_leaving_events_out_is_encoding_the_others(places: list[int], query_time: bool) -> None:
    histories = some_histories(timed=True)
    model = some_model(histories, max_length=100, query_time=query_time)
    encoder, table = model.encoder(), model.factors().item_factors[:, 0]
    rows = slice(int(histories.start[19]), int(histories.start[20]))
    item, rating, time = (getattr(histories, name)[rows].numpy() for name in ("item", "rating", "time"))
    assert len(item) == 39
    asked = int(time[-1]) + 1000
    found = encoder.vectors_without(table, item, rating, time, places, asked)
    assert found.shape == (len(places), 33)
    for place, vector in zip(places, found, strict=True):
        others = events_of(*(np.delete(column, place) for column in (item, rating, time)), FIRST)
        np.testing.assert_allclose(vector, encoder.vector(table, others, asked), atol=1e-4)


def test_of_a_long_history_what_is_left_of_the_latest_counts() -> None:
    histories = some_histories(timed=True)
    model = some_model(histories, max_length=20)
    encoder, table = model.encoder(), model.factors().item_factors[:, 0]
    rows = slice(int(histories.start[19]), int(histories.start[20]))
    item, rating, time = (getattr(histories, name)[rows].numpy() for name in ("item", "rating", "time"))
    shorter = some_model(histories, max_length=19).encoder()
    found = encoder.vectors_without(table, item, rating, time, [35])
    others = events_of(*(np.delete(column, 35) for column in (item, rating, time)), FIRST)
    wanted = shorter.vector(table, others)[:-1] + shorter.user_mean - encoder.user_mean
    np.testing.assert_allclose(found[0, :-1], wanted, atol=1e-4)


def test_attention_and_its_gradients_are_those_of_pytorch() -> None:
    torch.manual_seed(0)
    own, theirs = ([torch.randn(3, 2, 17, 8, requires_grad=True) for _ in range(3)] for _ in range(2))
    for a, b in zip(own, theirs, strict=True):
        b.data.copy_(a.data)
    gradient = torch.randn(3, 2, 17, 8)
    found = CausalAttention.apply(*own)  # type: ignore[no-untyped-call]
    wanted = torch.nn.functional.scaled_dot_product_attention(*theirs, is_causal=True)
    torch.testing.assert_close(found, wanted)
    found.backward(gradient)
    wanted.backward(gradient)
    for a, b in zip(own, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_attention_in_bfloat16_is_as_near_to_that_in_float32_as_pytorch_s() -> None:
    torch.manual_seed(0)
    exact = [torch.randn(4, 2, 50, 16, requires_grad=True) for _ in range(3)]
    gradient = torch.randn(4, 2, 50, 16)
    torch.nn.functional.scaled_dot_product_attention(*exact, is_causal=True).backward(gradient)
    halves = [tensor.detach().bfloat16().requires_grad_() for tensor in exact]
    found = causal_attention(*halves)
    assert "CausalAttention" in type(found.grad_fn).__name__
    found.backward(gradient.bfloat16())
    for half, whole in zip(halves, exact, strict=True):
        assert half.grad is not None
        assert whole.grad is not None
        assert float((half.grad.float() - whole.grad).norm() / whole.grad.norm()) < 0.02
    parts = [tensor.detach()[..., :20, :] for tensor in halves]  # a row knows nothing of those after it
    torch.testing.assert_close(causal_attention(*parts), found.detach()[..., :20, :], atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(
    ("wanted", "has_units", "dtype", "expected"),
    [
        (None, True, torch.float32, torch.bfloat16),
        (None, False, torch.float32, torch.float32),
        (False, True, torch.float32, torch.float32),
        (True, False, torch.float32, torch.bfloat16),
        (None, True, torch.float64, torch.float64),
    ],
)
def test_precision_is_found_or_asked_for(
    wanted: bool | None,
    has_units: bool,
    dtype: torch.dtype,
    expected: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layers, "has_fast_bfloat16", lambda device: has_units)
    weights = torch.ones(2, 2, dtype=dtype)
    with layers.reduced_precision(weights, wanted):
        assert (weights @ weights).dtype == expected
    with torch.autocast("cpu", torch.float16), layers.reduced_precision(weights.float(), wanted):  # trainer.precision
        assert (weights.float() @ weights.float()).dtype == torch.float16


def test_the_softmax_and_its_gradients_are_those_of_pytorch() -> None:
    torch.manual_seed(0)
    target = torch.randint(0, 300, (1300,))  # more rows than are held at a time
    own, theirs = (
        [
            torch.randn(1300, 8, requires_grad=True),
            torch.randn(300, 8, requires_grad=True),
            torch.zeros(300, requires_grad=True),
        ]
        for _ in range(2)
    )
    for a, b in zip(own, theirs, strict=True):
        b.data.copy_(a.data)
    found = softmax_loss(*own, target)
    wanted = torch.nn.functional.cross_entropy(theirs[0] @ theirs[1].T + theirs[2], target)
    torch.testing.assert_close(found, wanted)
    (3 * found).backward()
    (3 * wanted).backward()
    for a, b in zip(own, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)


def test_sampled_items_have_the_batch_and_how_likely_each_was() -> None:
    generator = torch.Generator().manual_seed(0)
    share = torch.tensor([0.5, 0.3, 0.2] + 97 * [0.0])
    counts, tries = torch.zeros(100), 400
    for _ in range(tries):
        target = torch.multinomial(share, 4, replacement=True, generator=generator)
        items, place, log_chance = sampled_items(target, share, 30, generator)
        assert (items[place] == target).all()
        assert (items.diff() > 0).all()
        counts[items] += 1
    torch.testing.assert_close(counts[items] / tries, log_chance.exp(), rtol=0, atol=0.1)


@pytest.mark.parametrize("dropout", [0.0, 0.2, 0.5])
def test_dropout_keeps_the_mean(dropout: float) -> None:
    layer = Dropout(dropout)
    layer.generator.manual_seed(0)
    x = torch.ones(1000, 100, requires_grad=True)
    found = layer(x)
    found.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, found)
    assert float((found == 0).float().mean()) == pytest.approx(dropout, abs=0.01)
    assert float(found.mean()) == pytest.approx(1, abs=0.02)
    assert (layer.eval()(x) == x).all()


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"embedding_dim must be >= 1 and a multiple of 4 \* heads = 12, got 32"):
        Attention(3, 3, embedding_dim=32, heads=3)


def calibrated(
    bias: float | None, above: float = 0.0, *, first: int = 0, histories: Histories | None = None
) -> np.ndarray:
    """The slope of a bias that is added for everybody, or of what random weights write.

    Ratings from the one at place `first` of a history on are higher by `above`, in quarters of the scale, than those
    that the base was solved for.
    """
    histories = histories or many_histories()
    model = some_model(histories, task="rating", max_length=100)
    head = model.head
    assert isinstance(head, NextStars)
    if bias is not None:
        with torch.no_grad():
            head.output.weight.zero_()
            head.output.bias.zero_()
            head.output.bias[-1] = bias
    head._is_calibrated = False
    place = torch.arange(len(histories.user)) - histories.start[histories.user]
    model.history_rating = histories.rating + above / 4 * (place >= first)
    model.vectors()
    assert head.is_calibrated
    return head.get_buffer("slope").numpy()


def test_what_is_added_counts_as_much_as_it_tells_of_users_left_out() -> None:
    assert calibrated(None)[2:6].max() < 0.2
    assert calibrated(0.5, above=0.5)[2:6].mean() == pytest.approx(1, abs=0.1)
    assert calibrated(1.0, above=0.5)[2:6].mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(calibrated(0.1, above=0.5)[2:6], 2)  # and no more
    late = calibrated(1.0, above=1.0, first=16)  # after n events the next ones are at n, n + 1, ...
    assert late[:2].max() < 0.2
    assert late[4:6].min() > 0.8


def test_without_anybody_to_calibrate_by_what_is_added_counts_as_it_is() -> None:
    alone = Histories(torch.arange(5), torch.arange(5), torch.full((5,), 0.5), starts_of(torch.arange(5), 5), None)
    np.testing.assert_allclose(calibrated(1.0, histories=alone), 1)


def test_the_slope_is_of_the_weights_in_the_checkpoint() -> None:
    data = small_data(random_ratings(900, 60, 40), split="user_time")
    model = build(Attention, data, task="rating", embedding_dim=16, max_length=10)
    trainer = fit(model, data, 2, limit_val_batches=0)  # as a refit
    assert isinstance(model.head, NextStars)
    saved = model.head.get_buffer("slope").clone()
    assert not torch.equal(saved, torch.ones(KNOTS))
    model.head._is_calibrated = False
    model.vectors()
    torch.testing.assert_close(model.head.get_buffer("slope"), saved)
    assert trainer.current_epoch == 2


def test_users_of_the_calibration_are_not_trained_on() -> None:
    histories = many_histories()
    model = some_model(histories, task="rating", max_length=100).train()
    head = model.head
    assert isinstance(head, NextStars)
    left_out = head.get_buffer("row_left_out")
    assert 0.02 < float(left_out.float().mean()) < 0.3
    start = histories.start.numpy()
    batch = padded_windows(start[:-1], start[:-1], start[1:] - 1)
    state = torch.randn(*batch.row.shape, 32, generator=torch.Generator().manual_seed(0))

    def loss(changed: torch.Tensor) -> float:
        rating = torch.where(changed, 1 - histories.rating, histories.rating)
        return float(head.loss(state, batch, Rows(histories.item, rating), torch.Generator()))

    assert loss(left_out) == loss(torch.zeros_like(left_out)) != loss(~left_out)
