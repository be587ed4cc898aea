"""Attention over histories: a causal transformer that ranks what comes next, or predicts its stars."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.bundle.centring import Side, centred_factors
from recsys.bundle.encoder import Encoder
from recsys.bundle.encoder_events import RATING_LEVELS, TIME_LEVELS, events_of, time_levels
from recsys.bundle.encoder_layers import EPSILON
from recsys.bundle.factors import Factors
from recsys.data.batches import Batch, RatingRows
from recsys.data.columns import TIMESTAMP
from recsys.data.datamodule import RatingDataModule
from recsys.data.histories import Histories, HistoryBatch, histories_of, padded_pieces, padded_windows
from recsys.evaluation.registry import NDCG, RMSE, Metrics
from recsys.models.attention.heads import START_STD, Head, NextItem, Rows
from recsys.models.attention.layers import Block, Dropout, Rotation, plain_array, plain_norm, reduced_precision
from recsys.models.attention.stars import NextStars
from recsys.models.base import SPAN_IN_UNITS, RatingModel, rows_or_mean, to_float64
from recsys.models.gradient import GradientModel
from recsys.models.held_out_users import first_held_out_times, validate_last_items
from recsys.models.one_pass import PINNED_PRECISION
from recsys.models.ranking import RankingModel
from recsys.models.validation import check_choice, check_range

log = logging.getLogger(__name__)

TASKS = ("ranking", "rating")
LAST_NDCG = f"val_last/{NDCG.name}"
FEED = 8 / 3  # of the dimension: the hidden part of a feed-forward layer, to the next multiple of 8
UNKNOWN = 0.05  # share of the windows that are trained without ratings, without times, and without query times
ROWS = 1 << 14  # of histories that are encoded at a time outside training


class Attention(RankingModel, GradientModel):
    """Scores `s(u, i, t) = p_u(t) . e_i + b_u(t) + b_i`; a transformer makes `p, b` of the history of u until t.

    It is causal: at each event of a history it predicts what follows. With `task=ranking` that is the next item, as in
    SASRec (Kang & McAuley 2018), by the softmax over all items (Klenitskiy & Vasilev 2023), and `b_u = 0`; with
    `task=rating` the stars of the items that come. An event is the sum of embeddings of its item (`recsys.models.
    attention.heads`), of its rating, of the time since the event before, and of the time since the first; attention
    sees distances in places and in time (rotary embeddings).

    Learned: the items' side and what is written (`head`), the embeddings of levels, and `blocks` transformer blocks.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        task: `ranking` or `rating`.
        embedding_dim: Length of `p_u` and `e_i`, a multiple of `4 * heads`.
        blocks: Transformer blocks, at least 1.
        heads: Of attention, at least 1.
        max_length: Events that are read, the latest ones, at least 1.
        dropout: Probability of zeroing a coordinate of an event's embedding and of each branch, in [0, 1).
        attributes: Whether items have embeddings and biases of their attributes, if any, added to their own; of
            `task=ranking`.
        times: Whether the model reads when events were, where the data say so, and not only their order.
        query_time: Whether the model also knows, in training and evaluation, when the answer is asked for.
        negatives: Items drawn for a sampled softmax, beside those of the batch, at least 1; 0: the softmax is over all
            items; None: over all up to 50,000, and else over 8,192 drawn. Of `task=ranking`.
        base: Folder of a bundle, or of a run, that stars stand on: of a model with priors of users and items, such as
            `bayesian_mf`, with the same test rows; it is solved again for the fitted rows. None: a short ALS. Of
            `task=rating`.
        bfloat16: Whether training multiplies matrices in bfloat16; None: where the device has units for it.
        learning_rate: Initial learning rate of Adam.
        plateau_factor: Factor on the learning rate when the validation metric stops improving, in (0, 1).
        plateau_patience: Epochs without improvement before that.
        plateau_min_lr: Lower bound on the learning rate of the plateau schedule.
        lr_schedule: `plateau`, `onecycle` or `cosine` (see `GradientModel`).
        seed: Seed of the initial weights, dropout and sampled items.

    Raises:
        ValueError: An argument is outside its range; the message names it.
    """

    name = "attention"
    sized_by_state: ClassVar[tuple[str, ...]] = ("history_item", "history_rating", "history_time")

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float = 1.0,
        rating_max: float = 5.0,
        *,
        task: str = "ranking",
        embedding_dim: int = 128,
        blocks: int = 2,
        heads: int = 2,
        max_length: int = 200,
        dropout: float = 0.2,
        attributes: bool = True,
        times: bool = True,
        query_time: bool = False,
        negatives: int | None = None,
        base: str | None = None,
        bfloat16: bool | None = None,
        learning_rate: float = 0.001,
        plateau_factor: float = 0.2,
        plateau_patience: int = 3,
        plateau_min_lr: float = 1e-6,
        lr_schedule: str = "plateau",
        seed: int = 0,
    ) -> None:
        super().__init__(
            n_users, n_items, rating_min, rating_max, learning_rate=learning_rate, seed=seed, lr_schedule=lr_schedule,
            plateau_factor=plateau_factor, plateau_patience=plateau_patience, plateau_min_lr=plateau_min_lr,
        )  # fmt: skip
        check_choice("task", task, TASKS)
        for name, value in (("blocks", blocks), ("heads", heads), ("max_length", max_length)):
            check_range(name, value, 1)
        check_range("dropout", dropout, 0.0, 1.0, open_high=True)
        if embedding_dim < 1 or embedding_dim % (4 * heads):
            raise ValueError(
                f"embedding_dim must be >= 1 and a multiple of 4 * heads = {4 * heads}, got {embedding_dim}"
            )
        if negatives is not None:
            check_range("negatives", negatives, 0)
        if query_time and not times:
            raise ValueError("query_time must be false with times=false, got true")
        if base is not None and task == "ranking":
            raise ValueError(f"base must be null with task=ranking, got {base!r}")
        self.save_hyperparameters()
        self.task, self.monitor = task, NDCG if task == "ranking" else RMSE
        self.selected_by = LAST_NDCG if task == "ranking" else None
        # Validation rows are predicted from the fitted ones alone, which says little of stars to come.
        self.select_last_epoch = task == "rating" and lr_schedule != "plateau"
        self.max_length = self.history_length = max_length
        self.heads, self.times, self.query_time, self.in_bfloat16 = heads, times, query_time, bfloat16
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head: Head
            if task == "rating":
                self.head = NextStars(n_users, n_items, embedding_dim, (rating_min, rating_max), base, seed)
            else:
                self.head = NextItem(n_users, n_items, embedding_dim, negatives, attributes=attributes)
            self.rating = nn.Parameter(START_STD * torch.randn(RATING_LEVELS + 1, embedding_dim))
            tables = (START_STD * torch.randn(TIME_LEVELS + 1, embedding_dim) for _ in range(3))
            self.gap, self.age, self.query_gap = (nn.Parameter(table) for table in tables)
            hidden = 8 * round(FEED * embedding_dim / 8)
            self.blocks = nn.ModuleList(Block(embedding_dim, heads, hidden, dropout) for _ in range(blocks))
        self.query_gap.requires_grad_(query_time)
        self.norm, self.dropout = nn.LayerNorm(embedding_dim, EPSILON), Dropout(dropout)
        # The histories; in the state, so that a checkpoint predicts without the ratings.
        self.register_buffer("history_start", torch.zeros(n_users + 1, dtype=torch.int64))
        self.register_buffer("history_item", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("history_rating", torch.zeros(0))
        self.register_buffer("history_time", torch.zeros(0, dtype=torch.int64))  # empty: not known
        self._levels: dict[str, Tensor] | None = None  # of each row of the histories
        self._vectors: Tensor | None = None  # of every user, outside training
        self._asked: NDArray[np.int64] | None = None  # unix seconds of each user's validation, with query times

    def init_from_data(self, rows: RatingRows) -> None:
        """Start the items' side."""
        self.head.start_from(rows)
        self._vectors = None

    def setup(self, stage: str) -> None:
        """Read the histories and the attributes. Runs before a checkpoint is loaded."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if stage != "fit" or not isinstance(data, RatingDataModule):
            return
        rows = data.fit_data
        if (n := len(data.dataset.events)) > RATING_LEVELS:
            log.warning("%d kinds of events have %d levels: neighbours by weight share one", n, RATING_LEVELS)
        if (kinds := data.fit_events) is not None:  # in the place of ratings, which implicit feedback has not
            rows = RatingRows(rows.columns.user, rows.columns.item, kinds)
        self._set_histories(histories := histories_of(rows, data.fit_times, len(data.users)))
        self.head.describe(data, histories)

    def _set_histories(self, histories: Histories) -> None:
        device = self.rating.device
        if self.query_time and histories.time is None:
            raise ValueError("query_time=true needs ratings with times, and these have none")
        self.history_start, self.history_item = histories.start.to(device), histories.item.to(device)
        self.history_rating = histories.rating.to(device)
        time = histories.time if self.times else None
        self.history_time = self.history_item[:0] if time is None else time.to(device)
        for levels in (self.gap, self.age):
            levels.requires_grad_(time is not None)
        self._levels = self._vectors = None

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Make place for what of the state is not of every model before loading."""
        self.head.make_place(state_dict, "head.")
        self._levels = self._vectors = None
        return super().load_state_dict(state_dict, *args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Attention:
        """Forget what depends on device and type."""
        self._levels = self._vectors = None
        return super()._apply(*args, **kwargs)  # type: ignore[no-any-return, no-untyped-call]

    def train(self, mode: bool = True) -> Attention:
        """Forget the users' vectors, which training changes."""
        self._vectors = None
        return super().train(mode)

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        for module in self.modules():
            if isinstance(module, Dropout):
                module.generator = self.generator

    @property
    def unit(self) -> float:
        """As of the task: 1 for scores, and of stars a quarter of the scale."""
        return 1.0 if self.task == "ranking" else self.span / SPAN_IN_UNITS

    def training_step(self, batch: HistoryBatch, batch_idx: int) -> Tensor:  # type: ignore[override]
        with reduced_precision(self.rating, self.in_bfloat16):
            state = self._encoded(batch.row)
            rows = Rows(self.history_item, self.history_rating)
            loss = self.head.loss(state, batch, rows, self.generator)
        self.train_loss += loss.detach()
        return loss

    def on_train_epoch_end(self) -> None:
        calibrate(self)  # before the checkpoint, also without validation

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        if self.task == "rating":
            RatingModel.validation_step(self, batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        if self.task == "rating":
            RatingModel.test_step(self, batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        if self.task == "rating":
            RatingModel.on_test_epoch_end(self)

    def on_validation_epoch_end(self) -> None:
        """As of the task; with query times, each user is asked at the time of their first validation row."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.query_time and isinstance(data, RatingDataModule):
            self._ask(first_held_out_times(data))
        if self.task == "rating":
            RatingModel.on_validation_epoch_end(self)
        else:
            super().on_validation_epoch_end()
        self._ask(None)

    def validation_metrics(self, data: RatingDataModule) -> Metrics | None:
        """As of any model that ranks; logs too what selects the epoch, the same of each user's last validation row.

        All of a user's validation rows given the fitted ones alone ask what somebody does weeks after their last event,
        of which a model of what comes next says little.
        """
        found = super().validation_metrics(data)
        if found is not None:
            several = data.split_name in ("user_time", "global_time") and TIMESTAMP in data.dataset.ratings
            last = validate_last_items(self, data) if several else found
            self.log(LAST_NDCG, last[self.monitor.name] or 0.0)
        return found

    def _ask(self, seconds: NDArray[np.int64] | None) -> None:
        """Set when each user is asked, unix seconds `(n_users,)`; None: not known, as in an export."""
        if self.query_time:
            self._asked = seconds
            self._levels = self._vectors = None

    def _encoded(self, row: Tensor) -> Tensor:
        """The state after each row of windows of the histories, `(windows, rows, embedding_dim)`, from their rows."""
        levels, timed = self._row_levels(), len(self.history_time) > 0
        rating, gap, age = (levels[name][row] for name in ("rating", "gap", "age"))
        time = self.history_time[row] if timed else None
        known = None
        if self.training:
            known = torch.rand(3, len(row), 1, generator=self.generator, device=row.device) >= UNKNOWN
            rating, gap, age = rating * known[0], gap * known[1], age * known[1]
            time = None if time is None else time * known[1]
        told = None if known is None else known[0]
        x = self.head.read(row, self.history_item[row], self.history_rating[row], told)
        x = x + nn.functional.embedding(rating, self.rating)
        if timed:
            x = x + nn.functional.embedding(gap, self.gap) + nn.functional.embedding(age, self.age)
        if self.query_time:
            waited = levels["query_gap"][row] if known is None else levels["query_gap"][row] * known[2]
            x = x + nn.functional.embedding(waited, self.query_gap)
        rotation = Rotation(row.shape[1], self.rating.shape[1] // self.heads, time, row.device)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, rotation)
        state: Tensor = self.norm(x)
        return state

    def _row_levels(self) -> dict[str, Tensor]:
        """Levels of the events, and of the time until the next one, of each row of the histories, `(rows,)`."""
        if self._levels is None:
            columns = (self.history_start, self.history_item, self.history_rating.float(), self.history_time)
            start, item, rating, time = (column.cpu().numpy() for column in columns)
            events = events_of(item, rating, time if len(time) else None, start[:-1])
            levels = {"rating": events.rating, "gap": events.gap, "age": events.age}
            if self.query_time:
                waited = np.append(events.gap[1:], 0)  # 0 for a user's last
                if self._asked is not None:
                    ends = start[1:] - 1
                    waited[ends] = time_levels(self._asked - time[ends])
                levels["query_gap"] = waited
            self._levels = {name: torch.from_numpy(level).to(self.device) for name, level in levels.items()}
        return self._levels

    @torch.no_grad()
    def vectors(self) -> Tensor:
        """`[p, b]` of every user after their whole history, `(n_users, coordinates + 1)`."""
        if self.training:  # as it is where a fit has ended
            self.eval()
            found = self.vectors()
            self.train()
            return found
        if self._vectors is None:
            calibrate(self)
            stop = self.history_start[1:].cpu().numpy()
            first = np.maximum(self.history_start[:-1].cpu().numpy(), stop - self.max_length)
            order = np.argsort(stop - first, kind="stable")
            order = order[(stop > first)[order]]
            found = self.head.users().clone()
            for users in (order[piece] for piece in padded_pieces((stop - first)[order], ROWS)):
                batch = padded_windows(first[users], first[users], stop[users])
                known = torch.from_numpy(stop[users] - first[users])
                state = self._encoded(batch.row.to(self.device))[torch.arange(len(users)), known - 1]
                found[torch.from_numpy(users)] += self.head.added(state, known).to(found.dtype)
            self._vectors = found
        return self._vectors

    def _scored_items(self) -> tuple[Tensor, Tensor]:
        """`e_i` and `b_i`; ranking, less the mean `e_i`, whose product with `p_u` would be the same for all items."""
        items = self.head.items()
        return items - items.mean(0) if self.task == "ranking" else items, self.head.biases()

    def scores(self, user: Tensor) -> Tensor:
        """Scores of every fitted item, `(users, n_items)`."""
        (items, bias), vectors = self._scored_items(), self.vectors()[user]
        return vectors[:, :-1] @ items.T + vectors[:, -1:] + bias

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores, or stars, unclipped, `(batch,)`; row -1 is treated as the average user or item."""
        (items, bias), vectors = self._scored_items(), rows_or_mean(user, self.vectors())
        score = (vectors[:, :-1] * rows_or_mean(item, items)).sum(-1) + vectors[:, -1] + rows_or_mean(item, bias)
        return self.rating_min + self.unit * (self.head.mu() + score) if isinstance(self.head, NextStars) else score

    @torch.no_grad()
    def factors(self) -> Factors:
        """The items, and the users as of their latest event; new ones are encoded (`encoder`).

        Ranking, nothing is solved for them, and priors only keep the form.
        """
        if isinstance(self.head, NextStars):
            return self.head.factors(self.vectors())
        users, (items, bias) = to_float64(self.vectors()), map(to_float64, self._scored_items())
        none, pinned = np.zeros(items.shape[1] + 1), np.full((1, items.shape[1] + 1), PINNED_PRECISION)
        of_users = Side(users[:, -1], users[:, :-1], none, pinned, (0.0,))
        factors = centred_factors(0.0, of_users, Side(bias, items, none, pinned, (0.0,)))
        return replace(factors, item_prior_mean=None, item_prior_precision=None, item_prior_exponent=None)

    @torch.no_grad()
    def encoder(self) -> Encoder:
        """The user side as arrays."""
        every = [block.arrays() for block in self.blocks if isinstance(block, Block)]
        rating = plain_array(self.rating)
        if isinstance(self.head, NextStars):
            calibrate(self)
            rating, of_task = rating + plain_array(self.head.own.bias), self.head.arrays()
        else:
            rows = {"item_mean": self.head.items(), "user_mean": self.vectors()[:, :-1]}
            of_task = {name: plain_array(of_side.mean(0)) for name, of_side in rows.items()}
        return Encoder(
            heads=self.heads,
            max_length=self.max_length,
            has_times=len(self.history_time) > 0,
            norm=plain_norm(self.norm),
            rating=rating,
            gap=plain_array(self.gap),
            age=plain_array(self.age),
            query_gap=plain_array(self.query_gap) if self.query_time else None,
            **of_task,
            **{name: np.stack([arrays[name] for arrays in every]) for name in every[0]},
        )


def calibrate(model: Attention) -> None:
    """Let the head learn what it learns outside training, unless it has, of the weights as they are."""
    if not model.head.is_calibrated:
        is_training = model.training
        model.eval()
        model.head.calibrate(model._encoded, Rows(model.history_item, model.history_rating), model.max_length)
        model.train(is_training)
