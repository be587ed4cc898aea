"""What was served when, asked afterwards; and whether anything is left of people who are forgotten."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load.service import Client
from benchmarks.replay.answers import TOP, Answer
from benchmarks.replay.checks import ROUNDING
from benchmarks.replay.place import ALIAS, Place, mark_of, wait_for
from benchmarks.replay.plan import Plan
from benchmarks.replay.processes import run_python
from recsys.versions import Versions
from recsys.versions.retention import remove_withdrawn
from recsys.versions.version import RETENTION
from serve.served import Past


def bookkeeping(place: Place, port: int, answers: list[Answer], plan: Plan) -> dict[str, Any]:
    """Ask again for all that was answered; then forget some whom the last version answered, and look for traces."""
    with place.versions() as versions:
        past = Past(versions, ALIAS)
        wrong_versions = sum(not is_version(versions, answer) for answer in answers)
        wrong_answers = sum(not is_answer(past, answer) for answer in answers)
        keep_last(versions)
    last = [answer for answer in answers if answer.version == answers[-1].version][: plan.forgotten]
    for answer in last:
        run_python("-m", "recsys", "forget", str(answer.user_id), environment=place.environment)
    client = Client(port)
    wait_for(client, place.champion()[0].short)
    return {
        "questions": len(answers),
        "wrong_versions": wrong_versions,
        "wrong_answers": wrong_answers,
        "forgotten": len(last),
        "traces": traces(place, client, last),
    }


def is_version(versions: Versions, answer: Answer) -> bool:
    """Whether the version that is said to have been served at an answer's time is the one that answered."""
    change = versions.aliases.at(ALIAS, answer.seconds)
    return change is not None and change.version.startswith(answer.version)


def is_answer(past: Past, answer: Answer) -> bool:
    """Whether what is said to have been served to somebody at a time is what they got."""
    found = past.served(str(answer.user_id), answer.seconds, k=TOP).recommendations or []
    return [one["item_id"] for one in found] == answer.items and bool(
        np.allclose([one["score"] for one in found], answer.scores, rtol=0, atol=ROUNDING)
    )


def keep_last(versions: Versions) -> None:
    """Remove all versions but the one that is served, as retention does once they are old: forgetting is of each."""
    current = versions.aliases.current(ALIAS)
    versions.registry.withdraw([one.version for one in versions.registry.all() if one.version != current], RETENTION)
    remove_withdrawn(versions)


def traces(place: Place, client: Client, answers: list[Answer]) -> int:
    """In how many places something of those who got these answers is left: rows, bytes of files, versions, answers."""
    users = [answer.user_id for answer in answers]
    database = place.folder / "recsys.db"
    found = rows_of_users(database, users)
    marks = [mark_of(user).encode() for user in users]
    files = [file for file in place.folder.rglob("*") if file.is_file()]
    found += sum(mark in content for content in map(Path.read_bytes, files) for mark in marks)
    with place.versions() as versions:
        for version in versions.registry.all():
            if version.withdrawn is None:
                bundle = versions.load(version)
                found += sum(user in bundle.user_row for user in users)
        past = Past(versions, ALIAS)
        found += sum(past.served(str(one.user_id), one.seconds).status != "forgotten" for one in answers)
        versions.aliases.verify()
    for user in users:
        known, _ = client.get(f"/users/{user}")
        status, answer = client.get(f"/users/{user}/recommendations?k={TOP}")
        found += known != 404 or status != 200 or not answer["cold_start"]
    return found


def rows_of_users(database: Path, users: Iterable[int]) -> int:
    """How many rows of the database are of these people."""
    ids, found = [str(user) for user in users], 0
    marks = ", ".join("?" * len(ids))
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for table in ("events", "users"):
            found += connection.execute(f"select count(*) from {table} where user_id in ({marks})", ids).fetchone()[0]
    return found
