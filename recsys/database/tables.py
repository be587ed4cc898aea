"""The tables. Times are unix seconds in UTC; ids are texts, as people wrote them.

A change here is a new file in `migrations/versions` too; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Identity, Index, Integer, MetaData, Table, Text, text

SERIAL = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts rows only of an INTEGER
IS_WITHDRAWAL = text("kind = 'withdrawal'")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

events = Table(
    "events",
    metadata,
    Column("seq", SERIAL, Identity(), primary_key=True),  # ascends in the order of commits, and is never used again
    Column("event_id", Text, nullable=False, unique=True),  # the client's
    Column("user_id", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("kind", Text, nullable=False),  # "rating", "withdrawal", or what the shop calls it
    Column("rating", Float(53)),  # stars, of a rating
    Column("timestamp", BigInteger, nullable=False),  # when it happened
    Column("received", BigInteger, nullable=False),  # when it was committed
    Index(None, "user_id", "seq"),
    Index(None, "item_id", "seq"),
    Index("ix_events_withdrawals", "user_id", sqlite_where=IS_WITHDRAWAL, postgresql_where=IS_WITHDRAWAL),
    sqlite_autoincrement=True,
)

items = Table(  # added or changed while the service runs
    "items",
    metadata,
    Column("item_id", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),  # ascends with every change of any item
    Column("title", Text, nullable=False),
    Column("year", Integer),
    Column("genres", JSON, nullable=False),  # a list of texts
    Column("attributes", JSON, nullable=False),  # texts by name
    Column("changed", BigInteger, nullable=False),
    Index(None, "revision", unique=True),
)

users = Table(  # whose attributes were set while the service runs
    "users",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("attributes", JSON, nullable=False),  # texts by name
    Column("changed", BigInteger, nullable=False),
    Index(None, "revision", unique=True),
)

versions = Table(  # immutable but for `withdrawn`
    "versions",
    metadata,
    Column("version", Text, primary_key=True),  # SHA-256 of the bundle's manifest
    Column("parent", Text),
    Column("cut", BigInteger, nullable=False),  # made of all events with seq <= cut
    Column("created", BigInteger, nullable=False),
    Column("made_by", Text, nullable=False),  # "fit", "update" or "forget"
    Column("metrics", JSON, nullable=False),
    Column("configuration", JSON, nullable=False),
    Column("git_commit", Text),
    Column("withdrawn", BigInteger),  # when its files were removed from the store for ever
    Column("reason", Text),  # why: "forgotten" or "retention"
)

alias_changes = Table(  # only ever added to: each row holds the hash of the one before
    "alias_changes",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, ...
    Column("alias", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("other_data", Boolean, nullable=False),  # a service may swap to it although its users and items are others
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index(None, "alias", "number"),
)

jobs = Table(  # bulk scoring
    "jobs",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("state", Text, nullable=False),  # "waiting", "running", "done" or "failed"
    Column("request", JSON, nullable=False),
    Column("version", Text),  # that it is computed with
    Column("done", BigInteger, nullable=False),  # users
    Column("total", BigInteger),
    Column("worker", Text),  # who computes it
    Column("seen", BigInteger),  # when that worker last said so
    Column("error", Text),
    Column("created", BigInteger, nullable=False),
    Column("finished", BigInteger),
)
