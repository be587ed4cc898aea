"""Answers that are kept for whoever asks the same again, as long as they are right.

An answer is a function of the model in service (its version and the items added to it), of the request as it was sent,
of what its key permits, and of the people whom it is about: of each, their last event and the revision of their
attributes. Model, request and permission are what an answer is found by. The people are those that its route has read,
with the state in which it read them: an answer is given again only after each of these states was looked up anew. So an
event that was acknowledged counts in the next answer, whichever worker accepted it.

What is equal and in flight is computed once. Who waits for it looks up the states afterwards, too: an event may have
been acknowledged meanwhile, before they asked.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.models.person import State
from serve.models.served_model import ServedModel

if TYPE_CHECKING:
    from serve.http.beside import Beside
    from serve.live import Live

MAX_BODY = 16_384  # bytes of a request's body; the answer to a longer one is not kept
LARGEST_SHARE = 16  # an answer that takes more than this part of the memory is not kept
OVERHEAD = 1000  # bytes of the objects that hold an answer, measured
# In a scope:
PEOPLE = "people"  # whose state the answer depends on
STATES = "states"  # of people, by id, as they were read for the request before the route ran
MODEL = "model"  # that the route has used
OF_PERSON = "answer_is_of_person"  # attribute of an endpoint whose answers are kept

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Key = tuple[bytes, bytes, frozenset[str] | None, tuple[bytes, ...], bytes]


class Asked(Protocol):
    """What is asked for answers: the service."""

    live: Live | None
    beside: Beside

    @property
    def model(self) -> ServedModel | None: ...


class Answer(NamedTuple):
    """An answer of status 200, as it is sent."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    etag: bytes  # strong: a digest of the body, in quotes
    people: tuple[tuple[str, State], ...]  # whom it is about, by id, as they were when it was computed


def kept(*, of_person: bool) -> Callable[[Endpoint], Endpoint]:
    """Keep the answers of an endpoint, which must depend on nothing but model, request, permission and people.

    Args:
        of_person: Whether answers depend on people's events, where there are any: the endpoint must then call
            `depends_on`, or else its answer is not kept.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, OF_PERSON, of_person)
        return endpoint

    return mark


def depends_on(scope: Scope, user_id: str, state: State) -> None:
    """Note that the answer to a request depends on a person, whose events were read when they had this state."""
    scope.setdefault(PEOPLE, []).append((user_id, state))


class AnswerCache:
    """Answers by request, for one model; the least recently given make room.

    Args:
        max_bytes: That they may take; 0 to keep none.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.counts: Counter[str] = Counter()  # answers since the last report, by where they came from
        self._model: ServedModel | None = None
        self._answers: OrderedDict[Key, Answer] = OrderedDict()
        self._in_flight: dict[tuple[ServedModel, Key], asyncio.Future[Answer | None]] = {}

    def follow(self, model: ServedModel | None) -> None:
        """Forget the answers of any other model: that of people who are to be forgotten must not stay."""
        if model is not self._model:
            self._model = model
            self._answers.clear()
            self.bytes = 0

    async def respond(
        self, service: Asked, scope: Scope, receive: Receive, send: Send, compute: ASGIApp, *, of_person: bool
    ) -> None:
        """Send the answer to a request: a kept one, that of an equal request in flight, or a computed one.

        Args:
            service: With the model.
            scope: The request, which the guard has let in.
            receive: Its body.
            send: Where the answer goes.
            compute: The route.
            of_person: As in `kept`.

        Raises:
            ApiError: 503, the database does not answer.
        """
        model = service.model
        if model is None:
            await compute(scope, receive, send)
            return
        body, receive = (b"", receive) if scope["method"] == "GET" else await _body(receive)
        if body is None:
            self.counts["computed"] += 1
            await compute(scope, receive, send)
            return
        self.follow(model)
        key = _key(scope, body)
        answer = self._answers.get(key)
        if answer is not None:
            if not answer.people or await _is_current(service, scope, answer):
                self.counts["kept"] += 1
                if key in self._answers:  # still, after a look at the database
                    self._answers.move_to_end(key)
                await _send(answer, scope, send)
                return
            self._drop(key, answer)
        if (flight := self._in_flight.get((model, key))) is not None:
            answer = await _joined(service, scope, flight)
            if answer is not None and await _is_current(service, scope, answer):
                self.counts["joined"] += 1
                await _send(answer, scope, send)
                return
        self.counts["computed"] += 1
        await self._lead(service, model, key, compute, scope, receive, send, of_person)

    async def _lead(
        self, service: Asked, model: ServedModel, key: Key, compute: ASGIApp, scope: Scope, receive: Receive,
        send: Send, of_person: bool,
    ) -> None:  # fmt: skip
        """Compute an answer, for equal requests that come meanwhile too."""
        flight: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        leads = self._in_flight.setdefault((model, key), flight) is flight
        sent = _Sent(scope, send)
        answer = None
        try:
            await compute(scope, receive, sent)
            is_of_model = scope.get(MODEL) is model  # and not of one that was swapped in meanwhile
            if is_of_model and (service.live is None or not of_person or scope.get(PEOPLE)):
                answer = sent.answer
        finally:
            if leads:
                del self._in_flight[model, key]
                flight.set_result(answer)
        if answer is not None and self._model is model:
            self._keep(key, answer)

    def _keep(self, key: Key, answer: Answer) -> None:
        size = _size(key, answer)
        if size > self.max_bytes / LARGEST_SHARE:
            return
        if (before := self._answers.pop(key, None)) is not None:
            self.bytes -= _size(key, before)
        self._answers[key] = answer
        self.bytes += size
        while self.bytes > self.max_bytes:
            self.bytes -= _size(*self._answers.popitem(last=False))

    def _drop(self, key: Key, answer: Answer) -> None:
        if self._answers.get(key) is answer:
            del self._answers[key]
            self.bytes -= _size(key, answer)


class _Sent:
    """Sends what a route answers, with an ETag, and remembers it if it can be kept."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self.send = scope, send
        self.answer: Answer | None = None
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            self._start = message  # until the body is there
            return
        start, self._start = self._start, None
        if start is None:
            await self.send(message)
        elif message.get("more_body", False):
            await self.send(start)
            await self.send(message)
        else:
            body = bytes(memoryview(message.get("body", b"")))  # orjson's own takes up to 4 KB more
            etag = b'"%s"' % hashlib.blake2b(body, digest_size=16).hexdigest().encode()
            headers = (*start["headers"], (b"etag", etag)) if self.scope["method"] == "GET" else (*start["headers"],)
            self.answer = Answer(headers, body, etag, tuple(self.scope.get(PEOPLE, ())))
            await _send(self.answer, self.scope, self.send)


async def _send(answer: Answer, scope: Scope, send: Send) -> None:
    """Send an answer, or 304 to a client that has it."""
    status, headers, body = 200, [*answer.headers], answer.body
    if scope["method"] == "GET":
        for name, value in scope["headers"]:
            if name == b"if-none-match" and _matches(value, answer.etag):
                status, headers, body = 304, [(b"etag", answer.etag)], b""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _matches(wanted: bytes, etag: bytes) -> bool:
    """Whether an `If-None-Match` has this ETag, by weak comparison."""
    return any(one.strip().removeprefix(b"W/") in (etag, b"*") for one in wanted.split(b","))


def _key(scope: Scope, body: bytes) -> Key:
    """All of a request that its answer may depend on: as it was sent, so that equal requests may count as two."""
    types = () if scope["method"] == "GET" else tuple(v for name, v in scope["headers"] if name == b"content-type")
    return scope["raw_path"], scope["query_string"], scope["guard"].permissions(scope), types, body


def _size(key: Key, answer: Answer) -> int:
    return OVERHEAD + len(key[0]) + len(key[1]) + sum(map(len, key[3])) + len(key[4]) + len(answer.body)


async def _is_current(service: Asked, scope: Scope, answer: Answer) -> bool:
    """Whether the people whom an answer is about are still as they were; if not, the route need not look again."""
    if service.live is not None:
        for user_id, state in answer.people:
            now = await service.live.people.state(scope, user_id)
            if now != state:
                scope.setdefault(STATES, {})[user_id] = now
                return False
    return True


async def _joined(service: Asked, scope: Scope, flight: asyncio.Future[Answer | None]) -> Answer | None:
    """The answer of an equal request, once it is there; None if it cannot be given to another."""
    with service.beside.aside(scope):
        await asyncio.wait([flight])  # which does not cancel it
    return flight.result()


async def _body(receive: Receive) -> tuple[bytes | None, Receive]:
    """The body of a request, None if it is long, and what the route may receive it from."""
    messages, length = [], 0
    while True:
        message = await receive()
        messages.append(message)
        length += len(message.get("body", b""))
        if not message.get("more_body", False) or length > MAX_BODY:
            break
    waiting = iter(messages)

    async def again() -> Message:
        for message in waiting:
            return message
        return await receive()

    is_whole = message["type"] == "http.request" and length <= MAX_BODY
    return b"".join(one.get("body", b"") for one in messages) if is_whole else None, again
