"""Two bundles as one recommender: a ranking bundle orders the lists, the other tells stars, intervals and reasons.

Ids are matched: an item of the first that the ranking bundle lacks goes last, a user that it lacks is folded in from
their items, and a ranking bundle that cannot fold in gives them the average user's list.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.bundle import Bundle
from recsys.bundle.typing import Float32Array, Id, IndexArray

__all__ = ["Partner"]


class Partner:
    """A ranking bundle beside another one.

    Args:
        bundle: That tells stars.
        ranking: That orders.
        mix: Of the stars beyond what the average person would give, this much is added to the ranking score.

    Raises:
        ValueError: The ids are of two kinds, no item is in both, or the second is no ranking bundle.
    """

    def __init__(self, bundle: Bundle, ranking: Bundle, mix: float = 0.0) -> None:
        if not ranking.is_ranking:
            raise ValueError(f"rank_with must be a bundle of a ranking model, got {ranking.manifest.get('model')}")
        if bundle.is_ranking:
            raise ValueError("rank_with needs a bundle that predicts stars, and this one ranks")
        kinds = [one.manifest["id_kind"] for one in (bundle, ranking)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"rank_with: ids must be of one kind, got {kinds[0]} and {kinds[1]}")
        self.ranking, self.mix, self._scale = ranking, mix, bundle.scale
        self.row_of = np.array([ranking.item_row.get(item, -1) for item in bundle.item_row], np.int64)
        scored = self.row_of[: bundle.n_items]
        self._known = (scored >= 0) & (scored < ranking.n_items)
        self._scored = np.where(self._known, scored, 0)
        if not self._known.any():
            raise ValueError("rank_with: no item of this bundle is in the ranking bundle")

    def scores(
        self,
        user_id: Id | None,
        history: IndexArray,
        gain: Float32Array | None = None,
        stars: Float32Array | None = None,
        time: NDArray[Any] | None = None,
    ) -> Float32Array:
        """What lists are sorted by, of each item of the first bundle with factors, `(n_items,)`.

        Args:
            user_id: Somebody who is as they were fitted; None for one whose history says more, or who is new.
            history: Their item rows in the first bundle, the latest last.
            gain: Of each item, `(n_items,)` stars; needed for a mix.
            stars: What they gave each item of the history, `(history,)`; None: not known, taken for the highest.
            time: When, unix seconds `(history,)`; None: not known.
        """
        ranking = self.ranking
        row = -1 if user_id is None else ranking.user_row.get(user_id, -1)
        vector = ranking.vector(row)
        if not 0 <= row < ranking.n_users and ranking.can_fold_in:
            rows = self.row_of[history]
            known = np.flatnonzero((rows >= 0) & (rows < ranking.n_items))
            if len(known):
                rating = np.full(len(known), ranking.given_scale[1], np.float32)
                if stars is not None and not ranking.is_implicit:
                    rating = np.interp(stars[known], self._scale, ranking.scale).astype(np.float32)
                when = None if time is None else time[known]
                vector = ranking.fold_in_rows(rows[known], rating, time=when).vector
        return self.mapped(ranking.factors.scores(vector), gain)

    def mapped(self, scores: Float32Array, gain: Float32Array | None = None) -> Float32Array:
        """Scores of the ranking bundle's items as those of the first bundle's, which it lacks some of."""
        found = scores[self._scored]
        if self.mix and gain is not None:
            found = found + np.float32(self.mix) * gain
        if not self._known.all():
            found[~self._known] = found[self._known].min() - 1
        return found
