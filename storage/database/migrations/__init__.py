"""Alembic migrations of ``data.db``, run from the package's own files.

:func:`upgrade` is the only entry point. There is no ``alembic.ini``, so an installed wheel migrates like a
checkout. An upgrade is one transaction on either database; if interrupted, it leaves nothing behind. Files
under ``versions`` are never edited after a release; a test compares their hashes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event

from storage.errors import DatabaseNewer
from storage.failpoints import failpoint


def revisions(connection: Connection) -> tuple[str | None, list[str]]:
    """Return the revision of the database (None without tables) and all known revisions, newest first."""
    return MigrationContext.configure(connection).get_current_revision(), list(_known_revisions())


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Migrate the database to ``revision``, inside the caller's transaction.

    A database that is up to date costs one query: Alembic takes longer to find that out than the rest of a
    start.

    Raises:
        DatabaseNewer: This version does not know the database's revision.
    """
    event.listen(connection, "before_cursor_execute", _pass_failpoint)
    try:
        _upgrade(connection, revision)
        failpoint("migration.statement")
    finally:
        event.remove(connection, "before_cursor_execute", _pass_failpoint)


def _upgrade(connection: Connection, revision: str) -> None:
    found, known = revisions(connection)
    if revision == "head" and found == known[0]:
        return
    _require_known(found, known)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def pending(connection: Connection) -> list[str]:
    """Return what an upgrade would do, oldest first: the first sentence of each migration.

    Raises:
        DatabaseNewer: This version does not know the database's revision.
    """
    found, known = revisions(connection)
    if found is None or found == known[0]:
        return []
    _require_known(found, known)
    scripts = ScriptDirectory.from_config(_config())
    newer = known[: known.index(found)]
    return [f"{one}: {scripts.get_revision(one).doc}" for one in reversed(newer)]


def _require_known(found: str | None, known: list[str]) -> None:
    if found is not None and found not in known:
        raise DatabaseNewer(
            f"The database has schema {found}, and this version supports up to {max(known)}; "
            "run the version of Simpatico that wrote it, or a later one."
        )


@cache
def _known_revisions() -> tuple[str, ...]:
    """Return the revisions of this version, newest first."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return tuple(script.revision for script in scripts)


def _pass_failpoint(*_: object) -> None:
    failpoint("migration.statement")


def _config() -> Config:
    config = Config()
    # Alembic interpolates %, so escape it.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
