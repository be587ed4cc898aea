"""Person: somebody about whom is asked, as the bundle knows them, or as their events say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle.costs import answer_work
from recsys.bundle.factors import UserVector
from recsys.bundle.fold_in import FoldIn
from recsys.bundle.typing import Float32Array, IndexArray

if TYPE_CHECKING:
    from recsys.events.merge import PersonRatings

__all__ = ["NO_EVENTS", "Person", "State"]

State = tuple[int, int]  # `seq` of a person's last event, and the revision of their attributes: 0 without any
NO_EVENTS: State = (0, 0)


@dataclass(eq=False)
class Person:
    """Somebody in the bundle, somebody new whose events are known, or somebody unknown.

    Their fitted row answers, unless events after the bundle's cut say more, or attributes were set since: then they are
    folded in from all of their ratings, when it is first asked for.
    """

    bundle: Bundle
    row: int  # in the bundle; -1: not there
    user_id: str = ""
    state: State = NO_EVENTS
    merged: PersonRatings | None = None  # all their ratings; None: the bundle's are all there is to say
    attributes: IndexArray | None = None  # positions among the bundle's; None: those of their row
    unknown_items: tuple[str, ...] = ()  # that `merged` rates, as the rows from `len(item_ids)` on
    given: FoldIn | None = None  # of the ratings in a request
    _vector: list[UserVector] = field(default_factory=list, repr=False)  # once it is known; shared with `lasting`
    _fold_in: FoldIn | None = field(default=None, init=False, repr=False)

    def lasting(self) -> Person:
        """The same, to be remembered: without the matrices of what is computed of one or the other, but the vector."""
        return replace(self)

    @property
    def is_live(self) -> bool:
        """Whether their events or attributes say more than the bundle."""
        return self.merged is not None or self.attributes is not None

    @property
    def is_fitted(self) -> bool:
        """Whether the model was fitted on this user."""
        return 0 <= self.row < self.bundle.n_users

    @property
    def is_known(self) -> bool:
        """Whether the model was fitted on this user, or they are folded in from ratings."""
        if self.given is not None:
            return len(self.given.items) > 0
        if self.is_fitted or self.merged is None:
            return self.is_fitted
        return self.bundle.can_fold_in and bool((self.merged.item < self.bundle.n_items).any())

    @property
    def seen(self) -> IndexArray:
        """The rows of the items of the bundle that they have rated."""
        return self.told[0]

    @property
    def rated(self) -> tuple[IndexArray, Float32Array]:
        """Item rows `(n,)`, also those of `unknown_items`, and stars `(n,)`."""
        if self.merged is not None:
            return self.merged.item, self.merged.rating
        entries = self.bundle.ratings.slice_of(self.row)
        return self.bundle.ratings.item[entries], self.bundle.ratings.rating[entries]

    @property
    def told(self) -> tuple[IndexArray, Float32Array, NDArray[np.int64] | None]:
        """Item rows `(n,)` of `seen`, and the stars and unix seconds of each; None where the times are not known."""
        if self.given is not None:
            return self.given.items, self.given.rating, self.given.time
        if self.merged is None:
            rated, entries = self.bundle.ratings, self.bundle.ratings.slice_of(self.row)
            time = None if rated.timestamp is None else rated.timestamp[entries]
            return rated.item[entries], rated.rating[entries], time
        item, rating, time = self.merged
        known = slice(None) if not self.unknown_items else item < len(self.bundle.item_ids)
        return item[known], rating[known], time[known]

    @property
    def fold_in(self) -> FoldIn | None:
        """What their vector is made of; None if that is a row of the bundle, or there is nothing to make it of.

        Raises:
            numpy.linalg.LinAlgError: The prior makes the system singular.
        """
        if self.given is not None:
            return self.given
        if self.merged is None or not self.bundle.can_fold_in:
            return None
        if self._fold_in is None:
            item, rating, time = self.merged
            with_factors = item < self.bundle.n_items
            if not with_factors.all():
                item, rating, time = item[with_factors], rating[with_factors], time[with_factors]
            own = self.bundle.attributes_of(self.row) if self.attributes is None else self.attributes
            self._fold_in = self.bundle.fold_in_rows(item, rating, own, time)
        return self._fold_in

    @property
    def has_vector(self) -> bool:
        """Whether their vector is known already."""
        return bool(self._vector)

    @property
    def vector(self) -> UserVector:
        """Bias and factors.

        Raises:
            ArithmeticError: The model has no finite answer to their ratings.
            numpy.linalg.LinAlgError: As `fold_in`.
        """
        if not self._vector:
            self._vector.append(self._found_vector())
        return self._vector[0]

    def _found_vector(self) -> UserVector:
        if (folded := self.fold_in) is not None:
            needs_posterior = self.bundle.factors.precision is not None
            return folded.vector if needs_posterior else folded.vector._replace(posterior=None)
        if self.attributes is not None and not self.is_fitted:
            return self.bundle.factors.user_from_attributes(self.attributes)
        return self.bundle.vector(self.row)

    def contributions(self, targets: IndexArray) -> tuple[FoldIn | None, Float32Array]:
        """The fold-in that explains their scores, and what each of its ratings contributes to those of some items.

        Args:
            targets: Item rows, `(t,)`.

        Returns:
            None if nothing explains them; and contributions `(t, n)`.

        Raises:
            ArithmeticError: As `vector`.
            numpy.linalg.LinAlgError: As `fold_in`.
        """
        nothing = None, np.zeros((len(targets), 0), np.float32)
        if self.fold_in is not None:
            return self.fold_in, self.fold_in.contributions(targets)[1]
        if not (self.is_fitted and self.bundle.can_fold_in):
            return nothing
        try:
            folded = self.bundle.fold_in_user(self.row)
            return folded, folded.contributions(targets)[1]
        except (ArithmeticError, np.linalg.LinAlgError):  # their fold-in has no finite answer, but they were fitted
            return nothing

    def work(self, scored: int, explained: int = 0) -> int:
        """Multiplications that scores of so many items take, as many of them explained."""
        folds_in = self.merged is not None or ((bool(explained) or self.bundle.has_histories) and self.is_fitted)
        return answer_work(self.bundle, scored, len(self.rated[0]) if folds_in else 0, explained)
