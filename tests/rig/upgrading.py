"""A process that opens stores in forked children, which failpoints kill during the upgrade.

Each line on stdin is a JSON list: folder, URL of the database, failpoints to switch on, and whether to be
careless (commit after every statement of the upgrade). Each line on stdout is the exit code of that child,
negative for a signal. Forking avoids starting Python for each of dozens of kills.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Engine

import storage.database.postgres  # noqa: F401 - imported before forking
from storage import failpoints
from storage.database import migrations
from storage.store import Store
from tests.rig.released import settings_in


def be_careless() -> None:
    """Control: commit after every statement of an upgrade; SQLite only."""
    in_upgrade = False
    whole = migrations.upgrade

    def commit(connection, *_):
        if in_upgrade:
            cursor = connection.connection.cursor()
            cursor.execute("COMMIT")
            cursor.execute("BEGIN IMMEDIATE")

    def upgrade(connection, revision="head"):
        nonlocal in_upgrade
        in_upgrade = True
        whole(connection, revision)
        in_upgrade = False

    event.listen(Engine, "after_cursor_execute", commit)
    import storage.opening

    storage.opening.upgrade = upgrade


async def open_store(folder: Path, url: str) -> None:
    async with await Store.open(settings_in(folder, url)):
        pass


def main() -> None:
    for line in sys.stdin:
        folder, url, wanted, careless = json.loads(line)
        child = os.fork()
        if not child:
            try:
                failpoints.switch_on(wanted)
                if careless:
                    be_careless()
                asyncio.run(open_store(Path(folder), url))
            except BaseException as exc:
                sys.stderr.write(f"{type(exc).__name__}: {exc}\n")
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
