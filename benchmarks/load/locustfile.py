"""People at the service: 3 parts single ratings, 2 top-N (every second one with reasons), 1 fold-in.

    make load                                   # starts the service on the newest run, and prints a table
    locust -f benchmarks/load/locustfile.py --host http://127.0.0.1:8000 Visitor    # against one that runs already

`FreshVisitor` opens a connection for each request, as people behind a proxy without kept connections do.

Few users come often and many seldom, as everywhere: ids are drawn with weights 1 / (place + 10).
"""

from __future__ import annotations

import random
from typing import Any, ClassVar
from urllib.parse import quote

from locust import FastHttpUser, constant, task


class Visitor(FastHttpUser):
    """Asks for one thing after another without a pause."""

    wait_time = constant(0)
    users: ClassVar[list[str]] = []
    items: ClassVar[list[str]] = []
    headers: ClassVar[dict[str, str]] = {}

    def on_start(self) -> None:
        if not Visitor.users:
            model = self.client.get("/model", name="(start)").json()
            Visitor.items = self._item_ids(model["service"]["genres"])
            Visitor.users = self._user_ids(model)

    def _item_ids(self, genres: list[str]) -> list[str]:
        """Popular items: those found by common words."""
        found: dict[str, None] = {}
        for word in ("a", "b", "c", "d", "e", "m", "s", "t"):
            items = self.client.get(f"/items?query={word}&limit=100", name="(start)").json()["items"]
            found |= dict.fromkeys(item["item_id"] for item in items)
        return list(found)

    def _user_ids(self, model: dict[str, Any]) -> list[str]:
        if model["id_kind"] == "int":  # MovieLens counts its users from 1
            return [str(user) for user in range(1, model["counts"]["users"] + 1)]
        return list(model["service"]["example_users"])

    @task(3)
    def single_rating(self) -> None:
        pair = {"user_id": _one(self.users), "item_id": _one(self.items)}
        self.client.post("/predict/rating/", json=pair, name="POST /predict/rating/", headers=self.headers)

    @task(1)
    def top(self) -> None:
        self.client.get(
            f"/users/{quote(_one(self.users), safe='')}/recommendations?k=10", name="GET top-10", headers=self.headers
        )

    @task(1)
    def top_with_reasons(self) -> None:
        path = f"/users/{quote(_one(self.users), safe='')}/recommendations?k=10&explain=true"
        self.client.get(path, name="GET top-10 with reasons", headers=self.headers)

    @task(1)
    def fold_in(self) -> None:
        ratings = [{"item_id": item, "rating": random.randint(1, 5)} for item in random.sample(self.items, 20)]
        body = {"ratings": ratings, "k": 10, "explain": True}
        self.client.post(
            "/recommendations/", json=body, name="POST /recommendations/ (20 ratings)", headers=self.headers
        )


class FreshVisitor(Visitor):
    headers: ClassVar[dict[str, str]] = {"Connection": "close"}


def _one(ids: list[str]) -> str:
    """One of the ids, the first ones more often."""
    place = int(10 * ((1 + len(ids) / 10) ** random.random() - 1))
    return ids[min(place, len(ids) - 1)]
