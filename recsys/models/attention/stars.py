"""Stars of the items that come: what a transformer over histories adds to the fold-in of a factorization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.bundle import UserRatings
from recsys.bundle.centring import recentred
from recsys.bundle.encoder_events import KNOTS, MOST_SLOPE, knot_shares, slope_at
from recsys.bundle.factors import Factors
from recsys.bundle.rescaling import rescaled
from recsys.bundle.schema import FACTOR_SPECS
from recsys.bundle.typing import Float32Array
from recsys.data.batches import RatingRows
from recsys.data.datamodule import RatingDataModule
from recsys.data.histories import Histories, HistoryBatch, padded_pieces, padded_windows
from recsys.models.als import ALS
from recsys.models.attention.cross_fitting import AHEAD, Attributes, cross_fit, load_base
from recsys.models.attention.heads import Head, Rows
from recsys.models.attention.layers import plain_array
from recsys.models.base import SPAN_IN_UNITS, to_float64

BASE = "base_"  # with which the names of a base's arrays begin
# Of the ALS that stars stand on where no base is given: best prequentially on validation rows of ML-1M.
SWEEPS = 40
ALS_ARGUMENTS: dict[str, Any] = {"embedding_dim": 32, "reg_lambda": 0.08, "reg_exponent": 0.5, "bias_shrinkage": 1.0}
READ_STD = 0.3  # of the coordinates of an item where it is read
MOST_READ = 256  # coordinates; of more, as many leading directions
HORIZON = 5.0  # events ahead over which the weight of stars that are to be predicted falls by e
LEFT_OUT = 10  # one user in so many is left out of the loss
CALIBRATED = 1 << 13  # rows of users by which is calibrated at a time
SLOPE_STD, STEP_STD = 1.0, 0.5
LEAST_NOISE = 1e-6  # variance of an error, in units squared


class NextStars(Head):
    """Mean squared error of the stars of all items that come, less of those that are far ahead.

    What is written is added to the `[p, b]` that a base, a factorization with priors, folds in of the same events; its
    items stay as they are. In training they are cross-fitted (`recsys.models.attention.cross_fitting`). An event is
    read as `A e_i + d B e_i`, with d its rating less `mu + b_i`, and `e_i` the item's coordinates in all samples of the
    base, or where these are many, along the leading singular vectors of the items, its `directions`. All in units
    (`RatingModel.unit`), and coordinates in a scale of their own, `read_scale`.

    What is learned of the training users holds less for others, and the less the more is known of somebody. So a share
    of the users is left out of the loss, and by them what is written is multiplied, outside training, by the slope of a
    regression of the base's errors on it (the calibration slope of van Houwelingen & le Cessie 1990), for each number
    of events.

    Learned: `own` A, `rated` B, `output`, from the last state to what is added to `[p, b]`, and its `slope`. The base's
    arrays are in the state, as `base_*`.
    """

    def __init__(
        self, n_users: int, n_items: int, dim: int, scale: tuple[float, float], base: str | None, seed: int
    ) -> None:
        super().__init__()
        self.n_items, self.dim, self.scale, self.folder, self.seed = n_items, dim, scale, base, seed
        self.unit = (scale[1] - scale[0]) / SPAN_IN_UNITS
        self.register_buffer("read_scale", torch.ones(()))
        self._make_layers(_empty_base(n_users, n_items), np.eye(1, dtype=np.float32))
        self.register_buffer("row_fold", torch.zeros(0, dtype=torch.int64), persistent=False)  # of the histories' rows
        self.register_buffer("fold_items", torch.zeros(0), persistent=False)  # (FOLDS * n_items, directions)
        self.register_buffer("fold_biases", torch.zeros(0), persistent=False)
        self.register_buffer("predicted", torch.zeros(0), persistent=False)  # as in `CrossFitted`
        self.register_buffer("row_left_out", torch.zeros(0, dtype=torch.bool), persistent=False)  # of the loss
        self.register_buffer("slope", torch.ones(KNOTS))
        self._start: Tensor | None = None  # of the histories
        self._is_calibrated = False
        self._is_crossed = False  # whether items are cross-fitted outside training, too

    def describe(self, data: RatingDataModule, histories: Histories) -> None:
        attributes = Attributes()
        if self.folder is None:
            factors = self._short_als(histories, len(data.users), len(data.items))
        else:
            given, attributes = load_base(self.folder, data)
            factors = rescaled(given, self.scale[0], self.unit)
        self.stand_on(factors, histories, attributes)

    def _short_als(self, histories: Histories, n_users: int, n_items: int) -> Factors:
        """The base where none is given."""
        als = ALS(n_users, n_items, 0.0, SPAN_IN_UNITS, **ALS_ARGUMENTS, seed=self.seed)
        rows = RatingRows(histories.user, histories.item, histories.rating)
        als.init_from_data(rows)
        sides = als.sides_of(histories.user, histories.item, als.stars(histories.rating))
        with torch.no_grad():
            for _ in range(SWEEPS):
                als.sweep(*sides)
        return als.factors()

    def stand_on(self, factors: Factors, histories: Histories, attributes: Attributes) -> None:
        """Take a base, solved for some histories.

        Args:
            factors: With priors, in units, in the rows of the users and items of the histories.
            histories: All fitted rows.
            attributes: That the base knows of users and items.
        """
        rating = (SPAN_IN_UNITS * histories.rating).numpy()
        none = np.zeros(len(rating), np.uint8)
        time = None if histories.time is None else histories.time.numpy()
        ratings = UserRatings(histories.start.numpy(), histories.item.numpy().astype(np.int32), rating, none, time)
        found = cross_fit(factors, ratings, attributes, self.seed)
        like = self.get_buffer("read_scale")
        items = found.factors.concatenated_items
        directions = _directions(items, np.bincount(ratings.item, minlength=len(items)), self.seed)
        base = {name: getattr(found.factors, name) for name in FACTOR_SPECS if not name.startswith("item_prior")}
        self._make_layers(base, directions)
        scale = READ_STD / max(float(found.factors.item_factors.std()), 1e-6)
        self.get_buffer("read_scale").fill_(scale)
        self.row_fold = torch.from_numpy(found.fold)[histories.user].to(like.device)
        left_out = np.random.default_rng([self.seed, LEFT_OUT]).permutation(len(found.fold)) % LEFT_OUT == 0
        self.row_left_out = torch.from_numpy(left_out)[histories.user].to(like.device)
        self._start = histories.start
        fold_items = found.item_factors.reshape(-1, items.shape[1])
        self.fold_items = torch.from_numpy(fold_items @ (np.float32(scale) * directions)).to(like)
        self.fold_biases = torch.from_numpy(found.item_bias.mean(2).reshape(-1)).to(like)
        self.predicted = torch.from_numpy(found.predicted).to(like)

    def _make_layers(self, base: Mapping[str, Any], directions: Float32Array) -> None:
        """Make place for a base's arrays, by name, and for the layers that read and write its directions."""
        like = self.get_buffer("read_scale")  # in device and type
        self.register_buffer("directions", torch.from_numpy(directions).to(like))  # (coordinates, directions)
        for name, array in base.items():
            if array is not None:
                self.register_buffer(f"{BASE}{name}", torch.from_numpy(np.array(array)).to(like))
        along = self.get_buffer(f"{BASE}item_factors").flatten(1) @ self.get_buffer("directions")
        self.register_buffer("item_along", along, persistent=False)  # (n_items, directions)
        width = directions.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            layers = nn.Linear(width, self.dim), nn.Linear(width, self.dim, bias=False), nn.Linear(self.dim, width + 1)
        self.own, self.rated, self.output = (layer.to(like) for layer in layers)
        nn.init.zeros_(self.output.weight)  # so that it starts as the base
        nn.init.zeros_(self.output.bias)
        self._is_calibrated = False

    def make_place(self, state: Mapping[str, Any], prefix: str) -> None:
        start = f"{prefix}{BASE}"
        base = {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
        arrays = {name: value.float().cpu().numpy() for name, value in base.items()}
        before = self.get_buffer("directions")
        self._make_layers(arrays, state[f"{prefix}directions"].float().cpu().numpy())
        if len(items := self.get_buffer("fold_items")):  # along those that were found here
            self.fold_items = items @ (before.T @ self.get_buffer("directions"))

    @property
    def base(self) -> Factors:
        """The base, in units, with users as the fold-ins of their ratings."""
        arrays = {
            name.removeprefix(BASE): value.float().cpu().numpy()
            for name, value in self.named_buffers(recurse=False)
            if name.startswith(BASE)
        }
        return Factors(**arrays)

    def mu(self) -> float:
        """In units above the lowest rating."""
        return float(self.get_buffer(f"{BASE}mu").mean())

    def items(self) -> Tensor:
        return self.get_buffer("read_scale") * self.get_buffer(f"{BASE}item_factors").flatten(1)

    def biases(self) -> Tensor:
        return self.get_buffer(f"{BASE}item_bias").mean(1)

    def users(self) -> Tensor:
        factors, bias = self.get_buffer(f"{BASE}user_factors"), self.get_buffer(f"{BASE}user_bias")
        scale = self.get_buffer("read_scale") * factors.shape[1]
        return torch.cat([factors.flatten(1) / scale, bias.mean(1, True)], 1)

    def level(self) -> Tensor:
        """What the average user gives each item, on the [0, 1] scale, `(n_items,)`."""
        return (self.mu() + self.biases()) / SPAN_IN_UNITS

    def _item_at(self, row: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """`e_i` and `b_i` of items as the users of these rows of the histories read them."""
        if not (self.training or self._is_crossed) or not len(self.get_buffer("fold_items")):
            along = self.get_buffer("read_scale") * self.get_buffer("item_along")
            return nn.functional.embedding(item, along), self.biases()[item]
        at = self.get_buffer("row_fold")[row] * self.n_items + item
        return nn.functional.embedding(at, self.get_buffer("fold_items")), self.get_buffer("fold_biases")[at]

    def read(self, row: Tensor, item: Tensor, rating: Tensor, known: Tensor | None) -> Tensor:
        event, bias = self._item_at(row, item)
        deviation = SPAN_IN_UNITS * rating - self.mu() - bias
        deviation = deviation if known is None else deviation * known
        read: Tensor = self.own(event) + self.rated(event * deviation[..., None].to(event.dtype))
        return read

    def write(self, state: Tensor) -> Tensor:
        return self._in_coordinates(self.output(state))

    def _in_coordinates(self, written: Tensor) -> Tensor:
        """What is written along the directions, `(..., directions + 1)`, as `(..., coordinates + 1)`."""
        return torch.cat([written[..., :-1] @ self.get_buffer("directions").T, written[..., -1:]], -1)

    def added(self, state: Tensor, events: Tensor) -> Tensor:
        slope = slope_at(to_float64(self.get_buffer("slope")), events.cpu().numpy())
        return self.write(state) * torch.from_numpy(slope).to(state)[:, None]

    def loss(self, state: Tensor, batch: HistoryBatch, rows: Rows, generator: torch.Generator) -> Tensor:
        self._is_calibrated = False  # since a step follows
        trained = batch.is_target & ~self.get_buffer("row_left_out")[batch.row]
        added, error = self._added_and_errors(state, batch.row, batch.is_target, rows)
        weight = _weights(trained)
        loss: Tensor = (weight * (added - error).square()).sum() / weight.sum().clamp(min=1)
        return loss

    def _added_and_errors(self, state: Tensor, row: Tensor, is_target: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """What is added after each row of windows to the next ones, and the base's errors, `(windows, rows, AHEAD)`.

        Where nothing is to be predicted they are whatever.
        """
        coming = row + is_target.long()
        next_ones = _next_ones(row.shape[1], row.device)
        event, _ = self._item_at(coming, rows.item[coming])
        written = self.output(state).to(event.dtype)  # (windows, rows, directions + 1)
        with torch.autocast(state.device.type, enabled=False):  # what is added is small beside the rest
            products = torch.bmm(written[..., :-1], event.mT) + written[..., -1:]
        added = products.gather(2, next_ones.expand(len(row), -1, -1))
        rating = SPAN_IN_UNITS * rows.rating[coming]
        return added, rating[:, next_ones] - self.get_buffer("predicted")[row]

    @property
    def is_calibrated(self) -> bool:
        return self._is_calibrated or not len(self.get_buffer("predicted"))

    @torch.no_grad()
    def calibrate(self, encoded: Callable[[Tensor], Tensor], rows: Rows, most: int) -> None:
        """Find the slope by the users who are left out of the loss, each in the first events of their history."""
        assert self._start is not None
        start, stop = self._start[:-1].numpy(), self._start[1:].numpy()
        left_out, device = self.row_left_out.cpu().numpy(), rows.item.device
        users = np.flatnonzero(stop - start > 1)
        users = users[left_out[start[users]]]
        length = np.minimum(stop - start - 1, most)[users]
        order = np.argsort(length, kind="stable")
        users, length = users[order], length[order]
        sums = _SlopeSums(np.zeros((KNOTS, KNOTS)), np.zeros(KNOTS))
        self._is_crossed = True
        try:
            with torch.autocast(device.type, enabled=False):
                for piece in padded_pieces(length, CALIBRATED):
                    first = start[users[piece]]
                    batch = padded_windows(first, first, first + length[piece])
                    row, is_target = batch.row.to(device), batch.is_target.to(device)
                    found = self._added_and_errors(encoded(row), row, is_target, rows)
                    sums = sums.plus(*found, _weights(is_target))
        finally:
            self._is_crossed = False
        self.get_buffer("slope").copy_(torch.from_numpy(sums.slope()))
        self._is_calibrated = True

    def factors(self, vectors: Tensor) -> Factors:
        """The base with these `[p, b]` of its users, `(n_users, coordinates + 1)`, centred again, in stars."""
        base, written = self.base, to_float64(vectors - self.users()) * self._written_unit()
        user_factors = base.user_factors + written[:, :-1].reshape(base.user_factors.shape)
        user_bias = base.user_bias + written[:, -1:]
        changed = replace(base, user_factors=user_factors.astype(np.float32), user_bias=user_bias.astype(np.float32))
        return rescaled(recentred(changed), -self.scale[0] / self.unit, 1 / self.unit)

    def _written_unit(self) -> NDArray[np.float64]:
        """What 1 is in each number that is written, in the base's coordinates, `(coordinates + 1,)`."""
        samples, dim = self.get_buffer(f"{BASE}item_factors").shape[1:]
        return np.append(np.full(samples * dim, float(self.get_buffer("read_scale")) * samples), 1.0)

    def arrays(self) -> dict[str, Float32Array]:
        """Those of `Encoder` that are of this task: items are centred, and a bias takes the product with their mean."""
        root, mean = self.unit**0.5, self.base.item_factors.astype(np.float64).mean(0)
        unit, step = self._written_unit(), np.append(np.full(mean.shape[1], root), self.unit)
        layers = (to_float64(self._in_coordinates(one)) * unit for one in (self.output.weight.T, self.output.bias))
        weight, shift = (_of_samples(layer, mean) * np.tile(step, len(mean)) for layer in layers)
        scale = np.float32(float(self.get_buffer("read_scale")) / root)
        return {
            "item_mean": (root * mean).reshape(-1).astype(np.float32),
            "own": scale * plain_array(self.get_buffer("directions") @ self.own.weight.T),
            "rated": scale * plain_array(self.get_buffer("directions") @ self.rated.weight.T),
            "level": plain_array(self.level()),
            "output": weight.astype(np.float32),
            "output_shift": shift.astype(np.float32),
            "slope": plain_array(self.get_buffer("slope")),
        }


def _of_samples(written: NDArray[np.float64], item_mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is added to `[p, b]` of each sample, `(..., samples * (dim + 1))`, where items are less their mean.

    Args:
        written: Of the factors of all samples, and of all biases, `(..., samples * dim + 1)`.
        item_mean: `(samples, dim)`.
    """
    factors = written[..., :-1].reshape(*written.shape[:-1], *item_mean.shape)
    bias = written[..., -1:] + (factors * item_mean).sum(-1)  # (..., samples)
    added = np.concatenate([factors, bias[..., None]], -1)
    return added.reshape(*written.shape[:-1], -1)


def _empty_base(n_users: int, n_items: int) -> dict[str, NDArray[np.float32]]:
    """Arrays of a base that says nothing, until there is one."""
    shapes = {
        "mu": (1,), "user_bias": (n_users, 1), "item_bias": (n_items, 1), "user_factors": (n_users, 1, 1),
        "item_factors": (n_items, 1, 1), "prior_mean": (1, 2), "prior_exponent": (1,), "prior_precision": (1, 1, 2, 2),
    }  # fmt: skip
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return arrays | {
        "mu": np.array([SPAN_IN_UNITS / 2], np.float32),
        "prior_precision": np.eye(2, dtype=np.float32)[None, None],
    }


def _directions(items: Float32Array, ratings: NDArray[np.int64], seed: int) -> Float32Array:
    """Orthonormal columns along which items are read, `(coordinates, min(coordinates, MOST_READ))`.

    Args:
        items: Of all samples, `(n_items, coordinates)`.
        ratings: By which items weigh, `(n_items,)`.
        seed: Of a turn, after which items are about as large along one column as along another.
    """
    coordinates = items.shape[1]
    if coordinates <= MOST_READ:
        return np.eye(coordinates, dtype=np.float32)
    rated = items.astype(np.float64) * np.sqrt(ratings)[:, None]
    leading = np.linalg.eigh(rated.T @ rated)[1][:, -MOST_READ:]
    leading *= np.sign(leading[np.abs(leading).argmax(0), np.arange(MOST_READ)])  # which a decomposition leaves open
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((MOST_READ, MOST_READ)))[0]
    return np.asarray(leading @ turn, np.float32)


def _next_ones(length: int, device: torch.device) -> Tensor:
    """The place of the n-th of the next ones, from each row of a window on, `(length, AHEAD)`; at most the last."""
    place = torch.arange(length, device=device)[:, None] + torch.arange(AHEAD, device=device)
    return place.clamp(max=length - 1)


def _weights(is_target: Tensor) -> Tensor:
    """Of the next ones after each row of windows, `(windows, rows, AHEAD)`."""
    ahead = torch.arange(AHEAD, device=is_target.device)
    beyond = torch.zeros_like(is_target[:, :1]).expand(-1, AHEAD - 1)
    return torch.cat([is_target, beyond], 1).unfold(1, AHEAD, 1) * torch.exp(-ahead / HORIZON)


class _SlopeSums(NamedTuple):
    """Of a regression of errors on what is added, with a slope for each number of events."""

    squares: NDArray[np.float64]  # (knots, knots) of what is added
    products: NDArray[np.float64]  # (knots,) with the errors
    noise: float = 0.0  # sum of squared errors
    ratings: int = 0  # each of which is predicted several times

    def plus(self, added: Tensor, error: Tensor, weight: Tensor) -> _SlopeSums:
        """With windows more, `(windows, rows, AHEAD)`: after n events in row n - 1."""
        share = knot_shares(np.arange(1, added.shape[1] + 1))  # (rows, knots)
        square, product = (to_float64((weight * added * other).sum((0, 2))) for other in (added, error))
        return _SlopeSums(
            self.squares + (share * square[:, None]).T @ share,
            self.products + share.T @ product,
            self.noise + float((weight * error.square()).sum()),
            self.ratings + int((weight[..., 0] > 0).sum()),
        )

    def slope(self) -> NDArray[np.float64]:
        """By ridge regression: about 1 a priori, and neighbours alike, within standard deviations."""
        noise = max(self.noise / max(self.ratings, 1), LEAST_NOISE)
        step = np.diff(np.eye(KNOTS), axis=0)
        prior = np.eye(KNOTS) / SLOPE_STD**2 + step.T @ step / STEP_STD**2
        found = np.linalg.solve(self.squares + noise * prior, self.products + noise * np.ones(KNOTS) / SLOPE_STD**2)
        return np.clip(found, 0, MOST_SLOPE)
