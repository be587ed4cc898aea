"""Bayesian matrix factorization by Gibbs sampling; predictions are posterior means."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from recsys.bundle.factors import Factors, concat_samples
from recsys.bundle.schema import LEGACY_ARRAYS
from recsys.data.batches import Batch, RatingRows
from recsys.data.datamodule import RatingDataModule
from recsys.models.base import to_float64
from recsys.models.bayesian import sampler
from recsys.models.bayesian.drift import Drift
from recsys.models.bayesian.export import cold_start_arrays, sample_factors
from recsys.models.bayesian.ordinal import Latent, expected_level
from recsys.models.bayesian.samples import Samples
from recsys.models.bayesian.side_information import Effects
from recsys.models.closed_form import SweepModel, design_of, linear_part
from recsys.models.draws import Draws
from recsys.models.normal_equations import NormalEquations
from recsys.models.side_matrices import attribute_matrix, rated_matrix
from recsys.models.validation import check_choice, check_range
from recsys.progress import track

LIKELIHOODS = ("gaussian", "ordinal")
SIDES = ("user", "item")
MAX_BURN_IN = 20  # sweeps, of a chain whose burn-in is not set
LATENT_WARMUP = 3  # sweeps before thresholds are sampled, until the rows are informative


class BayesianMF(SweepModel):
    """`r(u, i) ~ N(mu + b_u + b_i + p_u . q_i, 1 / (alpha g_u g_i))`, sampled (Salakhutdinov & Mnih 2008).

    The prior of a row `[p_u, b_u]` is `N(m + attributes_u B + |N(u)|^-1/2 sum_{j in N(u)} y_j, diag(L)^-1)`: user
    attributes and implicit feedback from the fitted rows (as in SVD++) shift its mean; likewise for items, with their
    attributes and raters (Rendle et al. 2019, "flipped"). Means, precisions and effects are sampled too, so that only
    the dimension and the length of the chain need tuning. Each epoch is one sweep.

    Predictions are means over the kept samples, one every `thin` sweeps after `burn_in`. Validation metrics are those
    of the running mean over all sweeps after `burn_in`, and before that of the current sweep.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        embedding_dim: Length of `p_u` and `q_i`, at least 1.
        attributes: Whether user and item attributes, if any, shift the prior means.
        implicit: Whether implicit feedback (who rated what) shifts the prior means.
        likelihood: `gaussian`, or `ordinal`: ordered probit, which also predicts the probability of each rating.
        noise_shape: Shape of the gamma prior (mean 1) of the noise precisions `g_u` and `g_i`; its weight is that of
            2 * noise_shape ratings. 0: constant noise.
        drift: Decay, in ratings, of the weights of a user's residuals, whose mean shifts the user's bias after the last
            rating. For predicting the future only; 0: no drift.
        drift_shrinkage: Pseudo-count of a drift of 0.
        burn_in: Sweeps discarded at the start; None: a fifth of `trainer.max_epochs`, but at most 20.
        thin: Sweeps between kept samples.
        warm_start: Folder of a bundle whose factors initialize rows with the same ids; None: random initialization.
        seed: Seed of the initialization and all draws.

    Raises:
        ValueError: An argument is outside its range; the message names it.
    """

    name = "bayesian_mf"
    select_last_epoch = True
    factors_of_epoch: ClassVar[bool] = False  # but means over them
    patience: int | None = 100

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float = 1.0,
        rating_max: float = 5.0,
        *,
        embedding_dim: int = 32,
        attributes: bool = True,
        implicit: bool = True,
        likelihood: str = "gaussian",
        noise_shape: float = 16.0,
        drift: float = 0.0,
        drift_shrinkage: float = 10.0,
        burn_in: int | None = None,
        thin: int = 5,
        warm_start: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, embedding_dim, warm_start, seed)
        check_choice("likelihood", likelihood, LIKELIHOODS)
        check_range("noise_shape", noise_shape, 0.0)
        check_range("drift", drift, 0.0)
        check_range("drift_shrinkage", drift_shrinkage, 0.0)
        if burn_in is not None:
            check_range("burn_in", burn_in, 0)
        check_range("thin", thin, 1)
        self.save_hyperparameters()
        self.with_attributes, self.with_implicit, self.likelihood = attributes, implicit, likelihood
        self.noise_shape, self.thin = noise_shape, thin
        self.burn_in = MAX_BURN_IN if burn_in is None else burn_in  # None: shorter in a short chain, see `setup`
        self.scale = (rating_min, rating_max) if likelihood == "ordinal" else ()  # levels, before there are ratings
        self.drift = Drift(drift, drift_shrinkage)
        self.samples_file: Path | None = None  # in the run folder; None: in memory
        # State of the chain besides the rows, and the priors of user and item rows.
        self.chain = sampler.initial_chain(n_users, n_items, self.unit, self.mu, self.scale)
        self.priors = sampler.row_priors((n_users, n_items), ({}, {}), self.unit, self.mu.expand(self.width))
        self.samples: Samples | None = None
        self.unfitted = self.mu.new_zeros(0, 0)  # attributes of items that are not fitted
        self.counted = 0  # sweeps in the running mean of validation
        self.running: list[Tensor] = []  # sum of their predictions, by validation batch
        self._latent: Latent | None = None
        self._resumed: dict[str, Any] = {}  # state of the loaded checkpoint
        self._last: dict[str, Tensor] | None = None  # sample of that checkpoint, where none was kept

    def set_artifact_dir(self, folder: Path, name: str) -> None:
        self.samples_file = folder / f"samples_{name}.bin"

    def setup(self, stage: str) -> None:
        length = self.trainer.max_epochs
        if stage == "fit" and self.hparams["burn_in"] is None and length is not None and length >= 0:
            self.burn_in = min(MAX_BURN_IN, length // 5)
        super().setup(stage)

    def init_from_data(self, rows: RatingRows) -> None:
        """Initialize `mu` and the biases at shrunk means, and reset the chain."""
        self.start_from_means(rows)
        self.chain = sampler.initial_chain(self.n_users, self.n_items, self.unit, self.mu, self.scale)
        if self.likelihood == "ordinal":
            stars = self.stars(rows.columns.rating).clamp(self.rating_min, self.rating_max)  # rounding may exceed it
            self.chain |= sampler.initial_latent(stars, self.unit)
        self.counted, self.running, self._latent, self._resumed = 0, [], None, {}

    def on_train_start(self) -> None:
        """Build the side information, and restore the chain from the checkpoint, if any."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, RatingDataModule)
        user, item, _ = data.fit_data.to(self.device).columns
        if self.drift.ratings:
            self.drift.observe(user, data.fit_times, self.n_users)
        tables = (data.user_attributes(), data.item_attributes()) if self.with_attributes else (None, None)
        counts = (self.n_users, self.n_items)
        blocks = [sampler.attribute_effects(table, n, self.mu) for table, n in zip(tables, counts, strict=True)]
        if tables[1] is not None and tables[1].names:
            later = np.arange(self.n_items, len(tables[1]))
            self.unfitted = attribute_matrix(tables[1].take(later)).to(self.mu)
        if self.with_implicit:
            blocks[0]["implicit"] = Effects(rated_matrix(user, item, self.n_users, self.n_items).to(self.mu))
            blocks[1]["implicit"] = Effects(rated_matrix(item, user, self.n_items, self.n_users).to(self.mu))
        self.priors = sampler.row_priors(counts, blocks, self.unit, self.mu.expand(self.width))
        self.chain = {name: value.to(self.mu) for name, value in self.chain.items()}
        n_rows = {"user_rows": self.n_users, "item_rows": self.n_items + len(self.unfitted)}
        shapes = _saved_shapes(self._resumed) or sampler.sample_shapes(self.chain, self.priors, n_rows)
        self.samples = Samples(shapes, self.samples_file)
        if self._resumed:
            self._restore(self._resumed)
        self._last = None
        self.samples.truncate(self._resumed.get("samples", 0))  # drop samples written after the checkpoint

    def sweep(self, users: NormalEquations, items: NormalEquations) -> Tensor:
        """Draw users given items, items given users, then the noise."""
        sides, draws = (users, items), Draws(self.generator, self.mu.dtype)
        rows = self.user_rows, self.item_rows
        errors = self.mu.new_empty(len(items.other))  # in the order of items
        for k, side in enumerate(sides):
            if self.current_epoch > 0:  # before, rows are not informative about their prior
                self.priors[k].draw(rows[k], self.generator)
            design, biases = design_of(rows[1 - k])
            rows[k].copy_(side.solve(
                design, self._target(side), self.priors[k].prior(), offset=self.mu + biases,
                noise=partial(draws.normal, (sampler.USERS, sampler.ITEMS)[k], width=self.width),
                root=self.chain[f"{SIDES[1 - k]}_precision"].sqrt(),
                scale=self.chain["precision"] * self.chain[f"{SIDES[k]}_precision"],
                residual=errors if k == 1 else None,
            ))  # fmt: skip
        as_given = items.restored(errors) if self.likelihood == "ordinal" or self.drift.ratings else errors
        mean = self._target(users) - users.sorted(as_given) if self.likelihood == "ordinal" else None
        sampler.draw_noise(self.chain, users, items, errors, self.noise_shape, self.unit, self.generator)
        if mean is not None and self.current_epoch >= LATENT_WARMUP:
            self._latent = self._latent or Latent(users.known, self.chain["levels"], users.total)
            adapt = self.current_epoch < self.burn_in
            sampler.draw_latent(self.chain, self._latent, users, mean, draws, self.generator, adapt=adapt)
        if self.current_epoch >= self.burn_in:
            if self.drift.ratings:
                self.chain["drift"] = self.drift.of(users.restored(users.row), as_given)
            self._keep()
        return items.total(errors.square()) / items.ratings

    def _target(self, side: NormalEquations) -> Tensor:
        """What is behind each rating, in the side's order, `(ratings,)`: its stars or a latent value."""
        return side.sorted(self.chain["latent"]) if "latent" in self.chain else side.known

    def _keep(self) -> None:
        """Keep every `thin`-th sample."""
        if self.global_rank == 0 and (self.current_epoch - self.burn_in) % self.thin == self.thin - 1:
            assert self.samples is not None
            self.samples.append(self._sample())

    def _sample(self) -> dict[str, Tensor]:
        """The arrays of the current sample, by name."""
        users, items = self.priors
        of_items = sampler.item_prior_arrays(items)
        unfitted = items.means().mean(0).expand(len(self.unfitted), -1)
        if len(self.unfitted):
            unfitted = of_items["item_cold_start_mean"] + self.unfitted.to(self.mu) @ items.state["attributes"]
        cold_start = cold_start_arrays(self.user_rows, self.item_rows, self.priors, len(self.unfitted))
        return self.chain | users.state | cold_start | of_items | {
            "user_rows": self._drifted(), "item_rows": torch.cat([self.item_rows, unfitted]),
            "row_precision": users.state["precision"], "precision": self.chain["precision"],
        }  # fmt: skip

    def _drifted(self) -> Tensor:
        """The users' rows with the drift added to the bias, `(n_users, e)`."""
        rows = self.user_rows.detach().clone()
        if "drift" in self.chain:
            rows[:, -1] += self.chain["drift"]
        return rows

    def _linked(self, sample: dict[str, Tensor], user: Tensor, item: Tensor) -> Tensor:
        """Predictions of a sample in stars, within the scale, `(batch,)`."""
        linear = self.mu + linear_part(sample["user_rows"], sample["item_rows"][: self.n_items], user, item)
        if self.likelihood == "gaussian":
            return linear.clamp(self.rating_min, self.rating_max)
        root = sample["precision"].sqrt()
        for row, name in ((user, "user_precision"), (item, "item_precision")):
            root = root * torch.where(row >= 0, sample[name][row.clamp(min=0)], 1.0).sqrt()
        return expected_level(linear, root, self.chain["levels"], sample["thresholds"])

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted stars within the scale, averaged over samples, `(batch,)`; row -1 is the average user or item."""
        samples = list(self._samples())
        return torch.stack([self._linked(sample, user, item) for sample in samples]).mean(0)

    def _samples(self) -> Iterator[dict[str, Tensor]]:
        """The kept samples; if there are none yet, the current one."""
        if self.samples is None or not len(self.samples):
            yield self._last or self._sample()
            return
        for number in track(range(len(self.samples)), "exporting samples"):
            arrays = self.samples[number].items()
            yield {name: torch.from_numpy(array).to(self.mu) for name, array in arrays}

    def on_validation_epoch_start(self) -> None:
        if self._in_running_mean():
            self.counted += 1

    def _in_running_mean(self) -> bool:
        trainer = self.trainer
        return trainer.state.fn == "fit" and not trainer.sanity_checking and self.current_epoch >= self.burn_in

    def predicted(self, batch: Batch, batch_idx: int) -> Tensor:
        """In a fit, the running mean after burn-in (before, the current sweep); otherwise the mean over samples."""
        if self.trainer.state.fn != "fit":
            return super().predicted(batch, batch_idx)
        now = self._linked({"user_rows": self._drifted(), "item_rows": self.item_rows, **self.chain}, *batch[:2])
        if not self._in_running_mean():
            return now
        if batch_idx == len(self.running):
            self.running.append(torch.zeros_like(now))
        total = self.running[batch_idx]
        total += now
        return total / self.counted

    @torch.no_grad()
    def factors(self) -> Factors:
        """The kept samples, each centred separately; if there are none yet, the current one.

        The prior of new users is that of the sampler, in units of the noise, so that a fold-in gives the mean of the
        conditional distribution of their row.
        """
        ordinal = self.likelihood == "ordinal"
        return concat_samples([
            sample_factors(
                {name: to_float64(value) for name, value in sample.items()},
                mu=float(self.mu),
                n_items=self.n_items,
                heteroscedastic=self.noise_shape > 0,
                drift=self.drift,
                levels=to_float64(self.chain["levels"]) if ordinal else None,
            )
            for sample in self._samples()
        ])  # fmt: skip

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the chain, the running mean, the number of samples, and samples kept in memory."""
        if self.samples is None:
            return
        checkpoint["chain"] = {
            "chain": self.chain, "priors": [prior.state for prior in self.priors],
            "counted": self.counted, "running": self.running, "samples": len(self.samples),
            "shapes": self.samples.shapes, "memory": [torch.from_numpy(sample) for sample in self.samples.memory],
        }  # fmt: skip
        if not len(self.samples):  # so that it can be exported without the side information of the fit
            sample = self._sample()
            checkpoint["chain"]["last"] = {name: sample[name] for name in self.samples.shapes}

    def missing_artifact(self, checkpoint: dict[str, Any]) -> str | None:
        saved = checkpoint.get("chain", {})
        if not saved or self.samples_file is None:
            return None
        found = len(Samples(saved["shapes"], self.samples_file))
        needed = int(saved["samples"])
        return f"{self.samples_file} has {found} of its {needed} samples" if found < needed else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed = checkpoint.get("chain", {})
        if self._resumed:
            self.samples = Samples(_saved_shapes(self._resumed), self.samples_file)
            self._last = self._resumed.get("last")
            self._restore(self._resumed)

    def _restore(self, saved: dict[str, Any]) -> None:
        """Restore the state of a checkpoint on the model's current device."""
        self.chain = {name: value.to(self.device) for name, value in saved["chain"].items()}
        self.counted, self.running = saved["counted"], [value.to(self.device) for value in saved["running"]]
        assert self.samples is not None
        self.samples.memory = [sample.numpy() for sample in saved["memory"]]
        for prior, state in zip(self.priors, saved["priors"], strict=True):
            prior.load(state)


def _saved_shapes(saved: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of a checkpoint's samples, which may be of a version with fewer arrays; empty without samples."""
    return {LEGACY_ARRAYS.get(name, name): shape for name, shape in saved.get("shapes", {}).items()}
