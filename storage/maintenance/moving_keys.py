"""Moves key store and erasure ledger between files and a PostgreSQL database. The data stay where they are.

The new place gets all rows in one step, and every row is compared. Only then the old place is emptied: what
stayed there would keep the keys of members who are forgotten from now on. A move that is killed before that
leaves the old place in use; repeat the command. A refused move changes nothing in either place.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection

from storage.database.replacing import SIDE_FILES, followed, replaced, sync_folder
from storage.errors import StorageError, StoreMissing
from storage.failpoints import failpoint
from storage.keys.erasure_ledger import erased_keys, ledger_origin
from storage.keys.key_files import KEYS, LEDGER
from storage.keys.key_place import versions
from storage.keys.key_store import KeyStore, place_of
from storage.keys.wrapping import member_keys
from storage.maintenance.drafts import in_live_words, link_master, staging
from storage.maintenance.exclusive import exclude_bots, exclude_key_commands
from storage.maintenance.key_copies import TABLES, Rows, put_into_database, rows_in, rows_of, snapshot_keys
from storage.settings import StorageSettings


class MovedKeys(NamedTuple):
    """Result of a move.

    Attributes:
        source: Where the keys were.
        target: Where they are.
        n_rows: Rows that were compared.
    """

    source: str
    target: str
    n_rows: int


async def move_keys(settings: StorageSettings, key_url: str) -> MovedKeys:
    """Move keys and ledger; repeat the call after an interruption.

    Args:
        settings: Where they are.
        key_url: ``[storage] key_url`` of the new place; empty for files in ``key_dir``.

    Raises:
        AlreadyOpen: A bot is running, or another command changes the keys.
        StoreMissing: There are no keys to move.
        KeyUnreadable: The master key does not open them.
        StorageError: The target holds other keys, or the data, or a row differs afterwards.
    """
    if key_url == settings.key_url:
        raise StorageError("The keys are there already; name another place with --keys-to.")
    target = replace(settings, key_url=key_url)
    old, new = place_of(settings), place_of(target)
    async with AsyncExitStack() as stack:
        alone = await exclude_bots(settings, stack)
        if not await old.is_there():
            raise StoreMissing(f"Expected keys in {old.what}, found none; were they moved already?")
        settings.key_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        await exclude_key_commands(settings, stack, also_at=key_url)
        stage = stack.enter_context(staging(followed(settings.key_dir / KEYS)))
        with in_live_words(settings):
            await snapshot_keys(settings, stage)
            link_master(settings, stage)
            trial = replace(settings, key_dir=stage, key_url="")
            await (await KeyStore.open(trial, data_exists=True)).close()  # as a start would
            rows = await asyncio.to_thread(rows_in, stage)
            if await new.is_there():
                _require_part(await _rows_at(target), rows, new.what)
        await alone.require()
        if key_url:
            await put_into_database(target, rows)
        else:
            ledger, keys = (followed(settings.key_dir / name) for name in (LEDGER, KEYS))
            with replaced(ledger, stage / LEDGER), replaced(keys, stage / KEYS):
                pass
        failpoint("move.keys-copied")
        if _sorted(await _rows_at(target)) != _sorted(rows):
            raise StorageError(f"A row in {new.what} differs after the move; the old place stays in use.")
        await alone.require()
        await _empty(settings)
    return MovedKeys(old.what, new.what, sum(map(len, rows.values())))


def _require_part(found: Rows, wanted: Rows, what: str) -> None:
    """Check that the target holds nothing but an earlier state of the same keys, as an interrupted move left.

    Raises:
        StorageError: It holds other or newer keys.
    """
    (there,), (here,) = found[ledger_origin.name] or [{}], wanted[ledger_origin.name]
    known = {row["key_id"] for row in wanted[member_keys.name]}
    is_same = there.get("key_check") == here["key_check"]
    n_unknown = sum(row["key_id"] not in known for row in found[member_keys.name])
    n_erased = len(wanted[erased_keys.name]) - len(found[erased_keys.name])
    if not is_same or there["changes"] > here["changes"] or n_unknown > n_erased:
        raise StorageError(f"{what} holds other or newer keys; empty it or name another place.")


async def _rows_at(settings: StorageSettings) -> Rows:
    if settings.key_url:
        return await rows_of(settings)
    return await asyncio.to_thread(rows_in, settings.key_dir)


def _sorted(rows: Rows) -> dict[str, list[str]]:
    return {table: sorted(repr(sorted(row.items())) for row in rows[table]) for table in rows}


async def _empty(settings: StorageSettings) -> None:
    """Remove keys and ledger from their old place."""
    if not settings.key_url:
        for name in (KEYS, LEDGER):  # the ledger last: alone it does no harm
            path = followed(settings.key_dir / name)
            for one in (path, *(path.with_name(f"{path.name}{side}") for side in SIDE_FILES)):
                one.unlink(missing_ok=True)
            (settings.key_dir / name).unlink(missing_ok=True)  # a link to it
            sync_folder(path.parent)
        return

    def work(connection: Connection) -> None:
        for table in (*TABLES, versions):
            table.drop(connection, checkfirst=True)

    async with AsyncExitStack() as stack:
        await place_of(settings).open_keys(stack).run(work)
