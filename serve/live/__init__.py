"""Live: what a service that is told of a database records and knows of people."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from starlette.types import Scope

from recsys.database.errors import DatabaseError
from serve.api_error import ApiError
from serve.http.beside import Beside
from serve.live.items import LiveItems
from serve.live.people import People
from serve.metrics import Metrics
from serve.process.deadlines import Deadlines, Overdue
from serve.settings import Settings

if TYPE_CHECKING:
    from recsys.database import Database
    from recsys.events import Event, EventLog, GroupCommit

log = logging.getLogger("serve")

START_SECONDS = 10.0  # for which a service that starts waits for its database
LOOK_SECONDS = 2.0  # for which a look whether the database answers may take
ANSWER_SECONDS = 5.0  # for which a request waits for it, then 503
END_SECONDS = 0.2  # for which the end of the service waits for the last commit
MOST_CALLS = 32  # at once

P = ParamSpec("P")
T = TypeVar("T")


def check_database(settings: Settings) -> None:
    """Check that the database of the settings answers, if there is one, before the service starts.

    Raises:
        DatabaseError: It does not, or cannot be one, or needs packages that are not installed.
    """
    if settings.database is not None:
        database = _database(settings.database)
        database.prepare()
        database.close()


def _database(url: str) -> Database:
    try:
        from recsys.database import Database  # and with it SQLAlchemy, which others do without
    except ModuleNotFoundError as error:
        raise DatabaseError(f"database needs {error.name}: pip install 'recsys-lightning[live]'") from None
    return Database.at(url, name="database")


class Live:
    """The database of a service, its events, and who writes them.

    A database that does not answer is no reason for the service to end: what needs it is answered by 503 meanwhile.

    Args:
        database: Which need not answer yet.
        beside: Counts the requests that wait for it.
        metrics: Of its commits.

    Attributes:
        log: The events.
        writer: Of this process.
        descriptions: Users' attributes, and items.
        people: Who people are by their events.
        items: Those that the model was not fitted on.
        answers: Whether the database answered when it was last asked.
    """

    def __init__(self, database: Database, beside: Beside, metrics: Metrics) -> None:
        from recsys.events import EventLog, GroupCommit
        from recsys.events.descriptions import Descriptions

        self.database, self.beside = database, beside
        self.log: EventLog = EventLog(database)
        self.writer: GroupCommit = GroupCommit(self.log, observe=metrics.observe_commit)
        self.descriptions = Descriptions(database)
        self.people, self.items = People(self), LiveItems(self.log, self.descriptions)
        self.answers = True
        self._is_prepared = False
        self._looks, self._calls = Deadlines(), Deadlines(most=MOST_CALLS)

    @classmethod
    def from_settings(cls, settings: Settings, beside: Beside, metrics: Metrics) -> Live | None:
        """The database of the settings, once it has answered or too much time has passed; None if there is none.

        Raises:
            DatabaseError: It cannot be one, or its driver is not installed.
        """
        if settings.database is None:
            return None
        live = cls(_database(settings.database), beside, metrics)
        live.look(START_SECONDS)
        return live

    def look(self, seconds: float = LOOK_SECONDS) -> bool:
        """Look whether the database answers, for so long at most."""
        try:
            self._looks.call(seconds, self._ask)
        except (DatabaseError, Overdue) as error:
            self.failed(error)
        else:
            if not self.answers:
                log.info("the database answers again")
            self.answers = True
        return self.answers

    def follow(self, ended: threading.Event, seconds: float) -> None:
        """Look every so many seconds, until the service ends."""
        while not ended.wait(seconds):
            try:
                self.look()
            except Exception:  # else nobody would look any more
                log.exception("the database could not be asked")

    async def append(self, scope: Scope, events: Sequence[Event]) -> int:
        """Append a request's events. They are on disk when this returns.

        Args:
            scope: Of the request.
            events: Of which `Event.check` has nothing to say.

        Returns:
            A `seq` that is not less than theirs.

        Raises:
            ApiError: 409, some `event_id` is taken by another event; 503, too many events wait, or the database does
                not answer in time. The events may be written all the same: the client sends them again.
        """
        from recsys.events import EventConflictError
        from recsys.events.group_commit import QueueFullError

        try:
            with self.beside.aside(scope):
                return await self.writer.append(events, ANSWER_SECONDS)
        except EventConflictError as error:
            raise ApiError(409, "event_conflict", _conflict(events, set(error.event_ids))) from None
        except QueueFullError:
            self.beside.load.shed["events"] += 1
            raise ApiError(503, "overloaded", "too many events wait to be written; try again") from None
        except (DatabaseError, TimeoutError) as error:
            raise self.failed(error) from None

    async def call(self, scope: Scope, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function returns that reads the database, called beside the event loop.

        Args:
            scope: Of the request.
            function: What to call; it raises a DatabaseError if the database does not answer.
            *args: Its arguments.
            **kwargs: Its arguments.

        Raises:
            ApiError: 503, the database does not answer in time.
        """
        try:
            with self.beside.aside(scope):
                return await self._calls.awaited(ANSWER_SECONDS, function, *args, **kwargs)
        except (DatabaseError, Overdue) as error:
            raise self.failed(error) from None

    def failed(self, error: Exception) -> ApiError:
        """The answer where the database does not answer; the log says why, once until it answers again."""
        if self.answers:
            log.error("the database does not answer: %s", str(error) or "not in time")
        self.answers = False
        return ApiError(503, "database_unavailable", "the database does not answer; try again")

    def close(self) -> None:
        """Write what waits, and close the connections."""
        if self.writer.close(END_SECONDS):
            self.database.close()

    def _ask(self) -> None:
        if not self._is_prepared:
            self.database.prepare()
            self._is_prepared = True
        self.database.check()


def _conflict(events: Sequence[Event], taken: Set[str]) -> str:
    """Which event of a request has an id that is taken by another of it, or else by one that was there before."""
    first: dict[str, int] = {}
    for place, event in enumerate(events):
        before = first.setdefault(event.event_id, place)
        if events[before] != event:
            return f"body.events[{place}].event_id is that of body.events[{before}], which has other content"
    place = min(first[event_id] for event_id in taken)
    return f"body.events[{place}].event_id is taken by an event with other content"
