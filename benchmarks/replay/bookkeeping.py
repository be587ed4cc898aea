"""What was served when, asked afterwards; and whether anything is left of people who are forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from recsys.versions import Versions
from recsys.versions.retention import remove_withdrawn
from recsys.versions.version import RETENTION
from serve.served import served

from benchmarks.load.service import Client
from benchmarks.replay.answers import TOP, Answer
from benchmarks.replay.checks import ROUNDING
from benchmarks.replay.place import ALIAS, Place, mark_of, wait_for
from benchmarks.replay.plan import Plan
from benchmarks.replay.processes import run_python
from benchmarks.replay.stream import Stream


def bookkeeping(stream: Stream, place: Place, client: Client, answers: list[Answer], plan: Plan) -> dict[str, Any]:
    """Ask again for all that was answered, in random order; then forget people, and look for traces of them."""
    with place.versions() as versions:
        asked = [answers[number] for number in np.random.default_rng(0).permutation(len(answers)).tolist()]
        wrong_versions = sum(not is_version(versions, answer) for answer in asked)
        wrong_answers = sum(not is_answer(versions, answer) for answer in asked)
        keep_last(versions)
    people = np.unique([answer.user_id for answer in answers])
    chosen = np.random.default_rng(1).choice(people, min(plan.forgotten, len(people)), replace=False).tolist()
    for user in chosen:
        run_python("-m", "recsys", "forget", str(user), environment=place.environment)
    wait_for(client, place.champion()[0].short)
    return {
        "questions": len(asked),
        "wrong_versions": wrong_versions,
        "wrong_answers": wrong_answers,
        "forgotten": len(chosen),
        "traces": traces(place, client, chosen),
    }


def is_version(versions: Versions, answer: Answer) -> bool:
    """Whether the version that is said to have been served at an answer's time is the one that answered."""
    change = versions.aliases.at(ALIAS, answer.seconds)
    return change is not None and change.version.startswith(answer.version)


def is_answer(versions: Versions, answer: Answer) -> bool:
    """Whether what is said to have been served to somebody at a time is what they got."""
    found = served(versions, ALIAS, str(answer.user_id), answer.seconds, k=TOP)["recommendations"]
    return [one["item_id"] for one in found] == answer.items and bool(
        np.allclose([one["score"] for one in found], answer.scores, rtol=0, atol=ROUNDING)
    )


def keep_last(versions: Versions) -> None:
    """Remove all versions but the one that is served, as retention does once they are old: forgetting is of each."""
    current = versions.aliases.current(ALIAS)
    versions.registry.withdraw([one.version for one in versions.registry.all() if one.version != current], RETENTION)
    remove_withdrawn(versions)


def traces(place: Place, client: Client, users: list[int]) -> int:
    """In how many places something of these people is left: rows, bytes of files, versions, answers."""
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
    with sqlite3.connect(database) as connection:
        for table in ("events", "users"):
            found += connection.execute(f"select count(*) from {table} where user_id in ({marks})", ids).fetchone()[0]
    return found
