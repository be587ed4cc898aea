"""A kept answer is the one that would be computed, whatever has changed since."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from recsys.bundle import Bundle
from recsys.database import Database
from serve import answers as module
from serve.answers import MAX_BODY, MODEL, OVERHEAD, AnswerCache, depends_on
from serve.api_error import ApiError
from serve.http.beside import Beside
from serve.http.load import Load
from serve.keys import add
from serve.models.model_manager import ModelManager
from serve.models.person import State
from serve.models.served_model import ServedModel
from tests.serve.conftest import ITEMS, NAMES, CheckedClient, client_of, rich
from tests.serve.test_metrics import value

TOP = "/users/1/recommendations?k=3&explain=true"


class World:
    """What a service holds, with a route that answers by everything that an answer may depend on."""

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        self.model: Any = object()
        self.states: dict[str, State] = {}
        self.permitted = True
        self.computed = 0
        self.pause: Callable[[], Awaitable[None]] | None = None  # while an answer is computed
        self.pause_of_state: Callable[[], Awaitable[None]] | None = None
        self.live: Any = SimpleNamespace(people=self)
        self.beside = Beside(Load(0, 1.0))
        self.cache = AnswerCache(max_bytes)

    async def state(self, scope: Scope, user_id: str) -> State:
        if self.pause_of_state is not None:
            await self.pause_of_state()
        return self.states.get(user_id, (0, 0))

    def permissions(self, scope: Scope) -> frozenset[str]:
        return frozenset(("histories",) if scope["permitted"] else ())

    def right(self, path: str, query: str, permitted: bool, body: bytes = b"") -> bytes:
        user = path.split("/")[-1]
        return repr((id(self.model), self.states.get(user, (0, 0)), path, query, permitted, body)).encode()

    async def route(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.computed += 1
        user = scope["raw_path"].decode().split("/")[-1]
        model, state = self.model, self.states.get(user, (0, 0))
        scope[MODEL] = model
        depends_on(scope, user, state)
        body = (await receive())["body"] if scope["method"] == "POST" else b""
        if self.pause is not None:
            await self.pause()
        path, query = scope["raw_path"].decode(), scope["query_string"].decode()
        text = repr((id(model), state, path, query, scope["permitted"], body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
        await send({"type": "http.response.body", "body": text})

    async def ask(
        self, path: str, query: str = "", *, permitted: bool = True, method: str = "GET", body: bytes = b"",
        headers: tuple[tuple[bytes, bytes], ...] = (), compute: Any = None, of_person: bool = True,
    ) -> SimpleNamespace:  # fmt: skip
        scope: Scope = {
            "type": "http", "method": method, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": list(headers), "guard": self, "permitted": permitted,
        }  # fmt: skip
        found = SimpleNamespace(status=0, headers={}, body=b"")

        async def receive() -> Message:
            return {"type": "http.request", "body": body}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                found.status, found.headers = message["status"], dict(message["headers"])
                message["headers"].append((b"x-added", b"by Cors, in place"))
            else:
                found.body += message["body"]

        await self.cache.respond(
            self, scope, receive, send, compute or self.route, of_person=of_person  # type: ignore[arg-type]
        )  # fmt: skip
        return found


def test_a_random_history_gets_the_answers_that_would_be_computed() -> None:
    """Events, other models, other keys, parameters and bodies, in every order, with room for a few answers only."""

    async def live_through(seed: int) -> int:
        choose, world = random.Random(seed), World(max_bytes=30_000)
        models = [world.model, object(), object()]
        for step in range(400):
            chance = choose.random()
            user = choose.choice("abc")
            if chance < 0.1:
                seq, revision = world.states.get(user, (0, 0))
                world.states[user] = (seq + 1, revision) if choose.random() < 0.7 else (seq, revision + 1)
            elif chance < 0.13:
                world.model = choose.choice(models)
            path, query, permitted = f"/users/{user}", choose.choice(("", "k=1", "k=2")), choose.random() < 0.5
            method, body = choose.choice((("GET", b""), ("POST", b"1"), ("POST", b"2")))
            found = await world.ask(path, query, permitted=permitted, method=method, body=body)
            assert found.body == world.right(path, query, permitted, body), step
            assert world.cache.bytes == sum(module._size(*one) for one in world.cache._answers.items())
            assert world.cache.bytes <= 30_000
        return world.computed

    computed = [asyncio.run(live_through(seed)) for seed in range(10)]
    assert max(computed) < 400


def test_concurrent_requests_see_what_was_acknowledged_before_them() -> None:
    """Requests overlap, and states take time to read; each must be as new as its own arrival."""

    async def live_through(seed: int) -> None:
        choose, world = random.Random(seed), World()
        acknowledged = 0

        async def pause() -> None:
            for _ in range(choose.randrange(4)):
                await asyncio.sleep(0)

        world.pause = world.pause_of_state = pause

        async def ask() -> None:
            before = acknowledged
            found = await world.ask("/users/a", choose.choice(("", "k=1")))
            seen = eval(found.body)[1][0]
            assert before <= seen <= acknowledged

        waiting = set()
        for _ in range(300):
            if choose.random() < 0.3:
                acknowledged += 1
                world.states["a"] = (acknowledged, 0)
            waiting.add(asyncio.ensure_future(ask()))
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        assert not world.cache._in_flight
        assert world.beside.load.in_flight == 0

    for seed in range(10):
        asyncio.run(live_through(seed))


def test_what_is_equal_and_in_flight_is_computed_once() -> None:
    async def live() -> None:
        world, gate = World(), asyncio.Event()
        world.pause = gate.wait  # type: ignore[assignment]
        asking = [asyncio.ensure_future(world.ask("/users/a")) for _ in range(20)]
        other = asyncio.ensure_future(world.ask("/users/b"))
        await asyncio.sleep(0.01)
        assert world.beside.load.in_flight == -19  # who waits is none that others wait for
        gate.set()
        bodies = {(await one).body for one in asking}
        assert bodies == {world.right("/users/a", "", True)}
        assert (await other).body == world.right("/users/b", "", True)
        assert world.computed == 2
        assert world.cache.counts == {"computed": 2, "joined": 19}

    asyncio.run(live())


def test_who_waits_gets_their_own_answer_after_an_event_or_a_lost_leader() -> None:
    async def live(happens: Callable[[World, Any], object]) -> None:
        world, gate = World(), asyncio.Event()
        world.pause = gate.wait  # type: ignore[assignment]
        first, second = (asyncio.ensure_future(world.ask("/users/a")) for _ in range(2))
        await asyncio.sleep(0.01)
        happens(world, first)
        await asyncio.sleep(0.01)
        gate.set()
        assert (await second).body == world.right("/users/a", "", True)
        await asyncio.gather(first, return_exceptions=True)
        assert not world.cache._in_flight
        assert world.computed == 2

    asyncio.run(live(lambda world, first: world.states.update(a=(1, 0))))
    asyncio.run(live(lambda world, first: first.cancel()))


def test_an_answer_of_the_model_before_is_not_kept() -> None:
    async def live() -> None:
        world, gate = World(), asyncio.Event()
        world.pause = gate.wait  # type: ignore[assignment]
        old = asyncio.ensure_future(world.ask("/users/a"))
        await asyncio.sleep(0.01)
        before, world.model = world.model, object()
        gate.set()
        assert str(id(before)).encode() in (await old).body
        assert (await world.ask("/users/a")).body == world.right("/users/a", "", True)

    asyncio.run(live())


def test_an_answer_of_a_model_that_was_swapped_in_meanwhile_is_not_kept_as_that_of_the_one_before() -> None:
    async def live() -> None:
        world = World()

        async def swapped(scope: Scope, receive: Receive, send: Send) -> None:
            world.model = object()
            await world.route(scope, receive, send)

        before = world.model
        assert (await world.ask("/users/a", compute=swapped)).body == world.right("/users/a", "", True)
        world.model = before
        assert (await world.ask("/users/a")).body == world.right("/users/a", "", True)

    asyncio.run(live())


def test_errors_streams_and_answers_about_nobody_knows_whom_are_not_kept() -> None:
    world = World()

    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"none"})

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        scope[MODEL] = world.model
        depends_on(scope, "a", (0, 0))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        scope[MODEL] = world.model
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"of a person"})

    async def live() -> None:
        cases = (nothing, 404, b"none"), (stream, 200, b"one two"), (silent, 200, b"of a person")
        for compute, status, body in cases:
            found = await world.ask("/users/a", compute=compute)
            assert (found.status, found.body) == (status, body)
            assert not world.cache._answers
        await world.ask("/items/1", compute=silent, of_person=False)
        assert len(world.cache._answers) == 1

    asyncio.run(live())


def test_a_failing_route_fails_as_before_and_leaves_nothing() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    async def live() -> None:
        world = World()
        with pytest.raises(ZeroDivisionError):
            await world.ask("/users/a", compute=broken)
        assert not world.cache._answers
        assert not world.cache._in_flight
        assert (await world.ask("/users/a")).status == 200

    asyncio.run(live())


def test_nothing_is_given_of_a_person_whose_events_cannot_be_known() -> None:
    async def unavailable() -> None:
        raise ApiError(503, "database_unavailable", "the database does not answer; try again")

    async def live() -> None:
        world = World()
        await world.ask("/users/a")
        world.pause_of_state = unavailable
        with pytest.raises(ApiError, match="does not answer"):
            await world.ask("/users/a")
        world.pause_of_state = None
        await world.ask("/users/a")
        assert (world.computed, world.cache.counts) == (1, {"computed": 1, "kept": 1})

    asyncio.run(live())


def test_the_least_recently_given_make_room() -> None:
    async def live() -> None:
        world = World(max_bytes=20 * (OVERHEAD + 150))
        for number in range(100):
            await world.ask(f"/users/{number}")
            await world.ask("/users/often")
        kept = [key[0].decode() for key in world.cache._answers]
        assert "/users/often" in kept
        assert "/users/99" in kept
        assert "/users/0" not in kept
        world.cache.follow(object())  # type: ignore[arg-type]
        assert (world.cache.bytes, len(world.cache._answers)) == (0, 0)
        none = World(max_bytes=0)
        await none.ask("/users/a")
        await none.ask("/users/a")
        assert (none.computed, none.cache.bytes) == (2, 0)

    asyncio.run(live())


def test_long_bodies_reach_the_route_and_are_not_kept() -> None:
    async def live() -> None:
        world = World()
        for _ in range(2):
            found = await world.ask("/predict", method="POST", body=b"x" * (MAX_BODY + 1))
            assert b"x" * (MAX_BODY + 1) in found.body
        assert (world.computed, world.cache.bytes) == (2, 0)

    asyncio.run(live())


def test_a_body_of_another_type_is_another_request() -> None:
    async def live() -> None:
        world = World()
        for kind in (b"application/json", b"text/plain", b"application/json"):
            await world.ask("/predict", method="POST", body=b"1", headers=((b"content-type", kind),))
        assert world.computed == 2

    asyncio.run(live())


# Through the service.


def test_an_etag_is_answered_with_304_computed_or_kept(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"]) as client:
        first = client.get(TOP)
        etag = first.headers["etag"]
        for wanted in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            same = client.get(TOP, headers={"If-None-Match": wanted})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
            assert same.headers["cache-control"] == "no-store"
            assert same.headers["x-request-id"]
        assert client.get(TOP, headers={"If-None-Match": '"other"'}).content == first.content
        assert client.get("/users/2/recommendations?k=3&explain=true").headers["etag"] != etag
    with client_of(bundles["int"], answer_cache_bytes=0) as client:  # after a restart, or of another worker
        assert client.get(TOP, headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize("kind", ["int", "posterior", "ordinal", "ranking"])
def test_every_route_answers_the_same_again(bundles: dict[str, Bundle], kind: str) -> None:
    paths = (
        TOP, "/users/2", "/users/77/recommendations", "/items?query=matrix", "/items/50", "/items/50/similar", "/model",
    )  # fmt: skip
    bodies = {
        "/recommendations/": {"ratings": [{"item_id": ITEMS[0], "rating": bundles[kind].given_scale[1]}], "k": 3},
        "/predict/rating/": {"user_id": 1, "item_id": 50},
    }
    with client_of(bundles[kind]) as client, client_of(bundles[kind], answer_cache_bytes=0) as bare:
        for _ in range(2):
            for path in paths:
                assert client.get(path).content == bare.get(path).content
            for path, body in bodies.items():
                assert client.post(path, json=body).content == bare.post(path, json=body).content
        text = client.get("/metrics").text
    n = 8 if kind == "ranking" else 9  # which predicts no rating
    assert value(text, "recsys_answers_total", source="kept") == n
    assert (value(text, "recsys_answer_cache_bytes") or 0) > n * OVERHEAD


def test_an_answer_to_the_one_key_is_not_given_to_another(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    """A key without histories gets no reasons, although another has just had them; one without any scope nothing."""
    file, keys = tmp_path / "keys.json", {}
    scopes = {
        "all": ("predict", "histories"), "some": ("predict",), "writes": ("predict", "events"), "none": ("operations",),
    }  # fmt: skip
    for name, of_key in scopes.items():
        keys[name] = {"Authorization": f"Bearer {add(file, name, frozenset(of_key))}"}
    settings = {"keys": file, "expose_user_ratings": True, "database": f"sqlite:///{tmp_path}/live.db"}
    statuses = {TOP: [200, 403, 403, 403], "/users/1": [200, 403, 403, 403], "/items": [200, 200, 200, 403]}
    with client_of(bundles["int"], **settings) as client:
        for _ in range(2):
            for path, expected in statuses.items():
                assert [client.get(path, headers=key).status_code for key in keys.values()] == expected
                assert client.get(path).status_code == 401
            shown = [client.get("/model", headers=keys[name]).json()["service"] for name in ("all", "some", "writes")]
            assert [one["expose_user_ratings"] for one in shown] == [True, False, False]
            assert [one["records_events"] for one in shown] == [False, False, True]


def test_a_kept_answer_is_counted_logged_and_limited_as_any(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"], rate_limit="5/hour") as client:
        answers = [client.get(TOP) for _ in range(5)]
        assert {one.status_code for one in answers} == {200}
        assert len({one.headers["x-request-id"] for one in answers}) == 5
        assert [one.headers["ratelimit"].partition("r=")[2][0] for one in answers] == [*"43210"]
        assert client.get(TOP).status_code == 429
    with client_of(bundles["int"]) as client:
        for _ in range(3):
            client.get(TOP, headers={"X-Request-ID": "mine"})
        assert client.get(TOP, headers={"X-Request-ID": "mine"}).headers["x-request-id"] == "mine"
        text = client.get("/metrics").text
        route = "/users/{user_id}/recommendations"
        assert value(text, "recsys_requests_total", method="GET", route=route, status="200") == 4


def test_another_method_on_a_kept_path_is_refused(client: CheckedClient) -> None:
    client.get("/users/1")
    assert client.unchecked("PATCH", "/users/1").status_code == 405


def test_other_models_give_other_answers(bundles: dict[str, Bundle]) -> None:
    models = ModelManager(ServedModel(bundles["int"]), Path())
    with client_of(models) as client:
        first = client.unchecked("GET", TOP)
        models.current = ServedModel(rich(seed=1))  # of the same version, which tests do not save
        second = client.unchecked("GET", TOP)
        assert first.json() != second.json()
        models.current = ServedModel(bundles["int"])
        assert client.unchecked("GET", TOP).content == first.content
        assert client.unchecked("GET", TOP, headers={"If-None-Match": first.headers["etag"]}).status_code == 304


def test_limits_of_bodies_hold_for_kept_routes(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"], max_body_bytes=100) as client:
        for _ in range(2):
            assert client.post("/predict/rating/", json={"user_id": 1, "item_id": "5" * 200}).status_code == 413
            assert client.post("/predict/rating/", content=b"{").status_code == 400


@pytest.mark.parametrize(
    ("kind", "steps", "backend"),
    [
        ("int", 40, "sqlite"), pytest.param("posterior", 400, "sqlite", marks=pytest.mark.slow),
        pytest.param("int", 100, "postgres", marks=pytest.mark.services),
    ],
)  # fmt: skip
def test_with_a_database_answers_are_those_of_a_service_that_keeps_none(
    kind: str,
    steps: int,
    backend: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two workers, one of which keeps answers, through a random history of events, attributes, new items and swaps."""
    monkeypatch.setattr("serve.live.items.SHARE", 1e9)  # new items are served at once
    choose = random.Random(kind)
    samples = {"samples": 3} if kind == "posterior" else {}
    bundles = [rich(attributes=NAMES, seed=seed, **samples) for seed in (0, 1)]
    url = f"sqlite:///{tmp_path}/live.db"
    if backend == "postgres":
        url = request.getfixturevalue("postgres")
        with Database.open(url).writing() as connection:
            connection.exec_driver_sql("truncate events, users, items")
    settings = {"database": url, "poll_seconds": 3600, "max_jobs": 0}
    workers = [ModelManager(ServedModel(bundles[0]), Path()) for _ in range(2)]
    users, items = ["1", "2", "0", "77", "007"], ["50", "172", "4711", "4712", "900"]
    paths = [
        *(f"/users/{user}/recommendations?k=5&explain={flag}" for user in users for flag in ("true", "false")),
        *(f"/users/{user}" for user in users),
        *(f"/items/{item}" for item in items), "/items", "/items/50/similar?k=20", "/model",
    ]  # fmt: skip
    with client_of(workers[0], **settings) as keeps, client_of(workers[1], **settings, answer_cache_bytes=0) as bare:
        for step in range(steps):
            chance, worker = choose.random(), choose.choice((keeps, bare))
            user, item = choose.choice(users), choose.choice(items)
            if chance < 0.15:
                taken = choose.random() < 0.2
                event = {
                    "event_id": str(step), "user_id": user, "item_id": item, "timestamp": choose.randrange(1000),
                    **({"kind": "withdrawal"} if taken else {"rating": choose.randrange(1, 11) / 2}),
                }  # fmt: skip
                assert worker.unchecked("POST", "/events/", json={"events": [event]}).status_code == 200
            elif chance < 0.2:
                attributes = {"gender": choose.choice("FM")}
                answer = worker.unchecked("PUT", f"/users/{user}", json={"attributes": attributes})
                assert answer.status_code == 200
            elif chance < 0.24:
                about = {"title": f"Title {choose.randrange(3)}", "genres": ["Drama"]}
                assert worker.unchecked("PUT", f"/items/{item}", json=about).status_code == 200
            elif chance < 0.25:
                bundle = choose.choice(bundles)
                for models in workers:
                    models._base = ServedModel(bundle)
            for models in workers:
                models.refresh()
            for path in choose.sample(paths, 4):
                first, second = (one.unchecked("GET", path) for one in (keeps, bare))
                assert (first.status_code, first.content) == (second.status_code, second.content), (step, path)
            pair = {"user_id": choose.choice(users), "item_id": "50"}
            first, second = (one.unchecked("POST", "/predict/rating/", json=pair) for one in (keeps, bare))
            assert (first.status_code, first.content) == (second.status_code, second.content), (step, pair)
        text = keeps.get("/metrics").text
    assert (value(text, "recsys_answers_total", source="kept") or 0) > steps
