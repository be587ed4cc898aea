"""Migrations of the tables, by Alembic."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from recsys.database.errors import DatabaseError

FOLDER = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, database: str) -> None:
    """Bring the tables up to date, within the connection's transaction.

    Args:
        connection: Of the only writer.
        database: Its name, for messages.

    Raises:
        DatabaseError: A newer version of recsys has made them.
    """
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise DatabaseError(f"{database} was made by a newer version of recsys (revision {current}): install that one")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # what it does is no news to whoever runs a command
    command.upgrade(config, "head")
