"""Lists that a ranking bundle orders for another one: their metrics, and how much of the stars' gain is mixed in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.partner import Partner
from recsys.bundle.ratings import LAST_PART, VAL
from recsys.bundle.typing import Float32Array, IndexArray
from recsys.evaluation.cases import Cases, cases_of, held_out_cases
from recsys.evaluation.holdout import fitted_rows, test_rows
from recsys.evaluation.ranking import in_blocks, popularity_of, ranked
from recsys.evaluation.registry import NDCG, Metrics, measure

SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)  # of the spread of the ranking scores, that a star of gain may be worth


class Mix(NamedTuple):
    """How much of the gain is mixed in."""

    weight: float
    ndcg: dict[float, float]  # NDCG@10 on validation rows by weight


def fit_mix(bundle: Bundle, ranking: Bundle) -> Mix:
    """The weight of the gain with the best NDCG@10 on validation rows; of equal ones the lowest.

    Raises:
        ValueError: One of the two was fitted on validation rows, or there are none.
    """
    for one in (bundle, ranking):
        if LAST_PART[one.manifest["fit_on"]] >= VAL:
            raise ValueError("rank_mix can be fitted only where neither run was fitted on validation rows: refit=none")
    rated, user = bundle.ratings, bundle.ratings.user_index()
    fitted, held_out = rated.part < VAL, rated.part == VAL
    if not held_out.any():
        raise ValueError("rank_mix needs validation rows, and this run has none")
    known = user[fitted], rated.item[fitted].astype(np.int64)
    cases = held_out_cases(known, (user[held_out], rated.item[held_out].astype(np.int64)))
    sample = _scores(bundle, Partner(bundle, ranking), np.unique(cases.user)[:200])
    spread = float(sample.std(1).mean())
    found = {
        weight: _measured(bundle, Partner(bundle, ranking, weight), cases, known, [NDCG.name])[NDCG.name] or 0.0
        for weight in (round(share * spread, 6) for share in SHARES)
    }
    return Mix(max(found, key=lambda weight: (round(found[weight], 6), -weight)), found)


def evaluate_rank_with(bundle: Bundle, ranking: Bundle, mix: float = 0.0) -> Metrics:
    """Ranking metrics of the test users' lists, by their names in the registry.

    A user is as both models were fitted; one whom the ranking bundle lacks gets its average user's list.

    Raises:
        ValueError: A model was fitted on the test rows, or there are none; or the two do not go together.
    """
    _, fitted = test_rows(bundle)
    test_rows(ranking)
    known = bundle.ratings.user_index()[fitted], bundle.ratings.item[fitted].astype(np.int64)
    return _measured(bundle, Partner(bundle, ranking, mix), cases_of(bundle), known)


def _measured(
    bundle: Bundle,
    partner: Partner,
    cases: Cases,
    known: tuple[IndexArray, IndexArray],
    names: list[str] | None = None,
) -> Metrics:
    scored = in_blocks(cases, lambda users: _scores(bundle, partner, users))
    return measure("ranking", ranked(cases, scored, popularity_of(known)).lists(), names)


def _scores(bundle: Bundle, partner: Partner, users: IndexArray) -> Float32Array:
    """What lists are sorted by, `(users, n_items)`, of users as they were fitted."""
    ranking = partner.ranking
    rows = np.array([ranking.user_row.get(user, -1) for user in bundle.user_ids[users].tolist()])
    scores = ranking.scores_of(rows, fitted_rows(ranking))
    if not partner.mix:
        return np.stack([partner.mapped(own) for own in scores])
    linear = bundle.factors.scores_of(users)
    gains = (bundle.ranker.gain(bundle.vector(user), one) for user, one in zip(users.tolist(), linear, strict=True))
    return np.stack([partner.mapped(own, gain) for own, gain in zip(scores, gains, strict=True)])
