"""An ensemble as a bundle and a run folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle.attributes import RowAttributes
from recsys.bundle.commit import git_commit
from recsys.bundle.compression import compressed
from recsys.bundle.ensemble import Member, union, weighted_sum
from recsys.bundle.ranking import KEY as RANKING
from recsys.bundle.typing import Float64Array
from recsys.ensemble.members import Run, costs
from recsys.ensemble.stacking import FOLDS, LINKS, MOST_LEVELS, Rows, Stack, choose_form, fit_stack, losses
from recsys.evaluation.fit_lists import with_lists
from recsys.evaluation.holdout import fitted_rows, test_rows
from recsys.experiments.run_folder import display_path

MODEL = "ensemble"  # in manifests and metrics
WIDER = 2  # times the exported coordinates that a posterior is compressed to before it is summed


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Stacked runs."""

    runs: Sequence[Run]
    stack: Stack
    val_rmse: float  # cross-validated on validation rows
    loss: Sequence[float | None]  # by member: growth of `val_rmse` without it

    def rows(self) -> list[dict[str, Any]]:
        """What each member is worth, and what it costs."""
        measured = [np.sqrt(np.mean((r.validation.predicted - r.validation.rating) ** 2)) for r in self.runs]
        return [
            {
                "run": str(run.folder),
                "model": run.model,
                "weight": float(weight),
                "slope": float(slope),
                "val/rmse": float(alone),
                "loss_without": loss,
                "fit_seconds": run.metrics.get("fit_seconds"),
                **costs(run.bundle),
            }
            for run, weight, slope, alone, loss in zip(
                self.runs, self.stack.weights, self.stack.slopes, measured, self.loss, strict=True
            )
        ]


def stack_runs(runs: Sequence[Run], link: str | None, by_activity: bool | None, non_negative: bool | None) -> Ensemble:
    """Fit the weights of runs on their validation rows; see `choose_form`.

    Raises:
        ValueError: The link is unknown, or is not one that the runs can have together.
    """
    first, rows = runs[0], validation_rows(runs)
    if len(rows.rating) < FOLDS:
        raise ValueError(f"runs must have {FOLDS} or more validation rows, got {len(rows.rating)}")
    links = tuple(name for name in LINKS if link in (None, name))
    if not links:
        raise ValueError(f"link must be one of {', '.join(LINKS)} or null, got {link!r}")
    ordinal = [display_path(run.folder) for run in runs if run.bundle.factors.ordinal is not None]
    if ordinal:  # their linear parts are not in stars, and become so by thresholds only
        if link == "identity":
            raise ValueError(f"link must be ordinal, as that of {ordinal[0]} is, got identity")
        links = ("ordinal",)
    if rows.levels is None:
        if link == "ordinal":
            raise ValueError(
                f"link=ordinal needs 2 to {MOST_LEVELS} different ratings in {first.bundle.manifest['data']}, got "
                f"{len(np.unique(first.bundle.ratings.rating))}"
            )
        links = ("identity",)
    form, val_rmse = choose_form(rows, links, by_activity, non_negative)
    return Ensemble(runs, fit_stack(rows, form), val_rmse, losses(rows, form))


def validation_rows(runs: Sequence[Run]) -> Rows:
    """The validation rows as the runs predict them."""
    first = runs[0]
    levels = np.unique(first.bundle.ratings.rating).astype(np.float64)
    return Rows(
        np.stack([run.validation.linear for run in runs], 1).astype(np.float64),
        first.validation.rating.astype(np.float64),
        first.validation.user_ratings,
        first.bundle.scale,
        levels if 1 < len(levels) <= MOST_LEVELS else None,
    )


def ensemble_bundle(ensemble: Ensemble, compress: int) -> Bundle:
    """One bundle of all members that have weight.

    Args:
        ensemble: Of runs on the same rows.
        compress: Coordinates at most. Members of several samples, and then the sum, are compressed to so many by
            truncated SVD; see `recsys.bundle.compression`.
    """
    stack = ensemble.stack
    used = np.flatnonzero((stack.weights != 0) | (stack.slopes != 0))
    bundles = [ensemble.runs[m].bundle for m in used.tolist()]
    noise = stack.noise or ensemble.val_rmse
    members = [_member(bundle, WIDER * compress) for bundle in bundles]
    factors = weighted_sum(members, stack.weights_of(fitted_ratings(bundles[0]))[:, used], stack.intercept, noise)
    if stack.thresholds is not None:
        factors = replace(
            factors,
            levels=np.unique(bundles[0].ratings.rating),
            thresholds=stack.thresholds[None].astype(np.float32),
            precision=np.array([noise**-2], np.float32),
        )
    factors = compressed(factors, compress, noise)
    tables = (
        _first(bundle.user_attributes for bundle in bundles),
        _first(bundle.item_attributes for bundle in bundles),
    )
    manifest = bundles[0].manifest | {
        "model": MODEL,
        "arguments": {**asdict(stack.form), "compress": compress},
        "link": stack.form.link,
        "samples": 1,
        "noise": None if factors.precision is not None else noise,
        "attributes": union(member.attributes for member in members),
        "item_attributes": union(member.item_attributes for member in members),
        "git_commit": git_commit(),
        "members": [
            {"model": run.model, "weight": float(w)} for run, w in zip(ensemble.runs, stack.weights, strict=True)
        ],
    }
    for key in ("compressed", "widths", "fold_in_target", "metrics", "files", RANKING):
        manifest.pop(key, None)
    whole = replace(
        bundles[0],
        manifest=manifest,
        factors=factors,
        sha256=None,
        user_attributes=tables[0],
        item_attributes=tables[1],
    )
    return with_lists(whole, _best_lists(bundles))


def _best_lists(bundles: Sequence[Bundle]) -> dict[str, Any] | None:
    """How the member orders lists whose lists were best on validation rows; None if none learned any order."""
    learned = [found for bundle in bundles if "ndcg" in (found := bundle.manifest.get(RANKING) or {})]
    return max(learned, key=lambda found: max(found["ndcg"].values()), default=None)


def predict_test_rows(ensemble: Ensemble) -> tuple[Float64Array, Float64Array]:
    """Stars of the test rows by the members themselves, uncompressed, and their true ratings, `(rows,)` each."""
    first = ensemble.runs[0].bundle
    test, _ = test_rows(first)
    user, item = first.ratings.user_index()[test], first.ratings.item[test].astype(np.int64)
    rows = replace(
        validation_rows(ensemble.runs),
        linear=np.stack([run.bundle.mean_linear_part(user, item) for run in ensemble.runs], 1).astype(np.float64),
        rating=first.ratings.rating[test].astype(np.float64),
        user_ratings=fitted_ratings(first, all_users=True)[user],
    )
    return ensemble.stack.predict(rows), rows.rating


def fitted_ratings(bundle: Bundle, *, all_users: bool = False) -> NDArray[np.int64]:
    """How many ratings of each user a model was fitted on, `(n_users,)`, or of all users of the data set."""
    counts = np.bincount(bundle.ratings.user_index()[fitted_rows(bundle)], minlength=len(bundle.user_ids))
    return counts if all_users else counts[: bundle.n_users]


def _member(bundle: Bundle, most: int) -> Member:
    factors = bundle.factors
    if factors.samples > 1:
        factors = compressed(factors, most, bundle.manifest.get("noise"))
    return Member(factors, bundle.attributes, bundle.item_attribute_names)


def _first(tables: Iterable[RowAttributes | None]) -> RowAttributes | None:
    """That of the first member that has one, whose names come first among all."""
    return next((table for table in tables if table is not None), None)
