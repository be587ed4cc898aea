"""People: somebody's ratings and attributes of this moment, from the bundle and everything the database knows.

What a request is answered from was read after it came in, so that it holds all that any worker or machine has
acknowledged before.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, Protocol, TypeVar
from weakref import WeakKeyDictionary

from starlette.types import Scope

from recsys.database import DatabaseError
from serve.live.history import History, attributes_of
from serve.live.last_events import LastEvents, last_events
from serve.models.person import Person, State
from serve.models.served_model import ServedModel

if TYPE_CHECKING:
    from recsys.database import Database
    from serve.api_error import ApiError

__all__ = ["People", "Person", "State", "read_person"]

AT_ONCE = 16  # reads beside the event loop
TURN_SECONDS = 5.0  # for which a request waits until its read begins
FEW = 64  # people that are looked up on the event loop
QUICK_EVENTS = 1_000  # that are read there
ALL = 2**62  # events, or the last of them
REMEMBERED_BYTES = 64_000_000  # of people with events, in each worker

P = ParamSpec("P")
T = TypeVar("T")


class Reads(Protocol):
    """How a database is read beside the event loop, and what is answered if it does not answer: `serve.live.Live`."""

    database: Database

    async def call(self, scope: Scope, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def failed(self, error: Exception) -> ApiError: ...


class Remembered(NamedTuple):
    """Somebody, and what has to be known to tell them of further events."""

    person: Person
    history: History

    @property
    def nbytes(self) -> int:
        """At most, once their vector is known."""
        factors, history = self.person.bundle.factors, self.history
        samples, e = factors.samples, int(factors.prior_mean.shape[1])
        posterior = 0 if factors.precision is None else 12 * samples * e * e
        texts = 500 * (len(history.withdrawn) + len(history.unknown_items))
        rated = (24 + 12 * (factors.item_weights is not None)) * len(history.ratings.item)
        return 3_000 + rated + texts + 4 * samples * e + posterior


class Memory(OrderedDict[str, Remembered]):
    """People with events by their ids, whoever was asked about last at the end, in so many bytes."""

    nbytes = 0

    def keep(self, user_id: str, found: Remembered) -> None:
        """Keep somebody, and leave out those whom nobody has asked about for the longest time."""
        if (before := self.pop(user_id, None)) is not None:
            self.nbytes -= before.nbytes
        self[user_id] = found
        self.nbytes += found.nbytes
        while self.nbytes > REMEMBERED_BYTES:
            self.nbytes -= self.popitem(last=False)[1].nbytes


class People:
    """Who people are now.

    Those with events are remembered until they have new ones, as long as there is room.

    Args:
        live: With the database, and what is answered if it does not answer.
    """

    def __init__(self, live: Reads) -> None:
        self.live, self.reads = live, last_events(live.database)
        self._of_model: WeakKeyDictionary[ServedModel, Memory] = WeakKeyDictionary()
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def state(self, scope: Scope, user_id: str) -> State:
        """What changes with everything that changes somebody's answers by the same model.

        Args:
            scope: Of the request.
            user_id: As text, see `ServedModel.users`.

        Raises:
            ApiError: 503, the database does not answer.
        """
        return await self._read(scope, self.reads.state, user_id)

    async def person(self, scope: Scope, model: ServedModel, user_id: str, state: State | None = None) -> Person:
        """Somebody as of now.

        Args:
            scope: Of the request.
            model: That answers.
            user_id: As text.
            state: Theirs, if the request has read it.

        Raises:
            ApiError: 503, the database does not answer.
        """
        if state is None:
            state = await self._read(scope, self.reads.state, user_id)
        seq, revision = state
        if seq <= model.cut and not revision:
            return Person(model.bundle, model.users.get(user_id, -1), user_id, state)
        memory = self._of_model.setdefault(model, Memory())
        before = memory.get(user_id)
        if before is not None and before.person.state == state:
            memory.move_to_end(user_id)
            return before.person.lasting()
        history = await self._history(scope, model, user_id, seq, None if before is None else before.history)
        attributes = None
        if before is not None and before.person.state[1] == revision:
            attributes = before.person.attributes
        elif revision:
            attributes = attributes_of(model, user_id, await self._read(scope, self.reads.attributes, user_id))
        found = history.person(model, user_id, state, attributes)
        memory.keep(user_id, Remembered(found.lasting(), history))
        return found

    async def attributes(self, scope: Scope, user_id: str) -> dict[str, str]:
        """The attributes that were set for somebody, by name.

        Raises:
            ApiError: 503, the database does not answer.
        """
        return await self._read(scope, self.reads.attributes, user_id)

    async def people(self, scope: Scope, model: ServedModel, user_ids: Sequence[str]) -> dict[str, Person]:
        """As `person`, of many, by their ids."""
        distinct = list(dict.fromkeys(user_ids))
        read = self._read if len(distinct) <= FEW else self._beside
        states = await read(scope, self.reads.states, distinct)
        found = zip(distinct, states, strict=True)
        return {user_id: await self.person(scope, model, user_id, state) for user_id, state in found}

    async def _history(
        self, scope: Scope, model: ServedModel, user_id: str, last: int, before: History | None
    ) -> History:
        """Somebody's ratings with all events up to `last`, of which those of `before` are known."""
        known = None if before is None else before.last
        if before is None or known is None or last < known.seq:
            withdrawn = await self._read(scope, self.reads.withdrawn, user_id, model.cut) if model.cut else {}
            before, known = History.of_bundle(model, user_id, withdrawn), None
        if last <= model.cut:
            return before
        first = model.cut + 1 if known is None else known.seq
        said = await self._read(scope, self.reads.events, user_id, first, last, QUICK_EVENTS)
        if len(said) == QUICK_EVENTS:
            said += await self._beside(scope, self.reads.events, user_id, said[-1].seq + 1, last, ALL)
        if known is not None:
            if not said or said[0] != known:  # they were forgotten meanwhile
                return await self._history(scope, model, user_id, last, None)
            said = said[1:]
        return before.told(model, said)

    async def _read(self, scope: Scope, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read where it is done sooner: here, or in another thread.

        Raises:
            ApiError: 503, the database does not answer.
        """
        if not self.reads.is_quick:
            return await self._beside(scope, function, *args, **kwargs)
        try:
            return function(*args, **kwargs)
        except DatabaseError as error:
            raise self.live.failed(error) from None

    async def _beside(self, scope: Scope, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError as error:
            raise self.live.failed(error) from None
        try:
            return await self.live.call(scope, function, *args, **kwargs)
        finally:
            self._turns.release()


def read_person(reads: LastEvents, model: ServedModel, user_id: str, state: State | None = None) -> Person:
    """As `People.person`, for threads and processes that may wait for the database.

    Args:
        reads: Of the database.
        model: That answers.
        user_id: As text.
        state: As of which they are wanted, without later events; None for now.

    Raises:
        DatabaseError: The database does not answer.
    """
    seq, revision = state = reads.state(user_id) if state is None else state
    history = History.of_bundle(model, user_id, reads.withdrawn(user_id, model.cut) if model.cut else {})
    if seq > model.cut:
        history = history.told(model, reads.events(user_id, model.cut + 1, seq, ALL))
    attributes = attributes_of(model, user_id, reads.attributes(user_id)) if revision else None
    return history.person(model, user_id, state, attributes)
