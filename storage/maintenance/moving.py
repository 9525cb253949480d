"""Moves the data between SQLite and PostgreSQL, row by row. Keys and ledger stay where they are.

Rows are copied as they are, sealed values included: what a value is bound to names no database, so it opens
in its new place. A move that is killed goes on where it stopped when the command is repeated, because a row
that is there already is not written again. Every row is compared afterwards. If the old data changed since
the interruption, the copy begins anew. In the transaction that compared them, the old data are marked as
moved; they stay, and no store opens them any more. A refused move changes nothing in either place.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, func, select, text, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.backend import Backend, Use, translated_errors
from storage.database.migrations import upgrade
from storage.database.notes import note_of, put_note
from storage.database.schema import metadata, notes, origin
from storage.errors import StorageError
from storage.failpoints import failpoint
from storage.opening import MOVED, MOVING, backend_of, require_data
from storage.settings import StorageSettings
from storage.store import Store

log = logging.getLogger(__name__)

ROWS = 500
"""Rows that are read, written and compared at once."""


class RowsDiffer(StorageError):
    """The rows in the new place are not those in the old one."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Result of a move.

    Attributes:
        source: Where the data were.
        target: Where they are.
        n_rows: Rows that were compared.
    """

    source: str
    target: str
    n_rows: int


async def move(
    settings: StorageSettings, url: str, progress: Callable[[str, int], None] = lambda _table, _rows: None
) -> Moved:
    """Move the data to another database; repeat the call after an interruption.

    Args:
        settings: Where the data are.
        url: ``[storage] url`` of the new place; empty for SQLite in ``data_dir``.
        progress: Called with a table and the number of its rows that were copied or compared.

    Raises:
        AlreadyOpen: A bot uses one of the two databases.
        StoreMissing: There are no data to move.
        StorageError: The target is the source or holds other data, or a row differs afterwards.
    """
    if url == settings.url:
        raise StorageError("The data are there already; name another place with --to.")
    await require_data(settings)
    async with AsyncExitStack() as stack:
        source, old, _ = await _connected(settings, stack)
        is_marked = await old.run_sync(_read, MOVED) is not None
    if not is_marked:  # as a start would: finish erasures, check keys and ledger, bring the schema up to date
        await (await Store.open(settings, may_create=False)).close()
    async with AsyncExitStack() as stack:
        source, old, _ = await _connected(settings, stack)
        target, new, is_used = await _connected(replace(settings, url=url), stack)
        with translated_errors(f"{source.what} or {target.what}"):
            await _begin(old, new, target.what, is_used=is_used, is_marked=is_marked)
            async with old.begin():  # one snapshot, without another writer until the mark
                n_rows = await _copied_and_compared(old, new, progress, is_resumed=is_used)
                await old.run_sync(put_note, MOVED, target.what)
            failpoint("move.marked")
            async with new.begin():
                await new.execute(delete(notes).where(notes.c.key == MOVING))
    return Moved(source.what, target.what, n_rows)


async def _connected(
    settings: StorageSettings, stack: AsyncExitStack
) -> tuple[Backend, AsyncConnection, bool]:
    """Open a database that no bot uses, and keep bots out of it; return also whether it holds data."""
    backend = backend_of(settings, Use.ALONE)
    await backend.open(stack)
    is_used = await backend.has_data()  # before the only connection is taken
    return backend, await backend.connect_writer(stack), is_used


def _read(connection: Connection, key: str) -> str | None:
    with connection.begin():
        return note_of(connection, key)


async def _begin(
    old: AsyncConnection, new: AsyncConnection, where: str, *, is_used: bool, is_marked: bool
) -> None:
    """Create the tables of the target, and mark it as unfinished. Go on with an earlier move of these data.

    Raises:
        StorageError: The target holds other data, or the source was moved elsewhere.
    """
    async with old.begin():
        tag = (await old.execute(select(origin.c.key_check))).scalar_one().hex()
        elsewhere = await old.run_sync(note_of, MOVED)
    begun = await new.run_sync(_read, MOVING) if is_used else None
    if is_marked and (begun != tag or elsewhere != where):
        raise StorageError(f"The data were moved to {elsewhere} already. Nothing was changed.")
    if is_used and begun != tag:
        earlier = await new.run_sync(_read, MOVED)
        holds = "other data" if earlier is None else "the data that were moved away from it"
        raise StorageError(f"{where} holds {holds}; empty it or name another place. Nothing was changed.")
    async with new.begin():
        await new.run_sync(upgrade)
        await new.run_sync(put_note, MOVING, tag)
        row = dict((await new.execute(select(origin))).mappings().first() or {})
        if not row:
            check = bytes.fromhex(tag)
            await new.execute(origin.insert().values(id=1, key_check=check, last_number=0))
    failpoint("move.begun")


async def _copied_and_compared(
    old: AsyncConnection,
    new: AsyncConnection,
    progress: Callable[[str, int], None],
    *,
    is_resumed: bool,
) -> int:
    """Copy every row that is not there yet, then compare every row; return their number.

    Raises:
        StorageError: A row differs.
    """
    await _copy(old, new, progress)
    try:
        n_rows = await _compared(old, new, progress)
    except RowsDiffer:
        if not is_resumed:
            raise
        log.info("the data changed since the move was interrupted; it begins anew")
        async with new.begin():
            await new.run_sync(_empty)
        await _copy(old, new, progress)
        n_rows = await _compared(old, new, progress)
    failpoint("move.compared")
    return n_rows


async def _copy(old: AsyncConnection, new: AsyncConnection, progress: Callable[[str, int], None]) -> None:
    for table in metadata.sorted_tables:
        async for page in _pages(old, table):
            async with new.begin():
                await new.run_sync(_write, table, page)
            progress(table.name, len(page))
            failpoint("move.page-copied")
    async with new.begin():
        await new.run_sync(_continue_numbers)


async def _compared(old: AsyncConnection, new: AsyncConnection, progress: Callable[[str, int], None]) -> int:
    async with new.begin():
        return sum(
            [
                await _compare(old, new, table, partial(progress, table.name))
                for table in metadata.sorted_tables
            ]
        )


def _empty(connection: Connection) -> None:
    """Delete every row of an unfinished target, but not what makes it one."""
    for table in reversed(metadata.sorted_tables):
        if table is not origin:
            connection.execute(_without_marks(delete(table), table))


def _without_marks(query: Any, table: Table) -> Any:
    """Leave out the notes about the move itself."""
    return query.where(notes.c.key.not_in([MOVED, MOVING])) if table is notes else query


async def _pages(connection: AsyncConnection, table: Table) -> AsyncGenerator[list[Row[Any]]]:
    """Yield all rows in the order of the primary key, without the notes about the move itself."""
    key = list(table.primary_key)
    query = _without_marks(select(table).order_by(*key).limit(ROWS), table)
    after = query
    while page := list((await connection.execute(after)).all()):
        yield page
        last = [getattr(page[-1], column.name) for column in key]
        after = query.where(tuple_(*key) > tuple_(*last) if len(key) > 1 else key[0] > last[0])


def _write(connection: Connection, table: Table, page: list[Row[Any]]) -> None:
    """Write rows; one that is there already stays. The one row of ``origin`` is replaced."""
    if table is origin:
        connection.execute(delete(origin))
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table).on_conflict_do_nothing()
    connection.execute(insert, [dict(zip(table.c.keys(), row, strict=True)) for row in page])


def _continue_numbers(connection: Connection) -> None:
    """Let PostgreSQL's own sequences go on after the numbers that were copied."""
    if connection.dialect.name != "postgresql":
        return
    for table in metadata.sorted_tables:
        column = table.autoincrement_column
        if column is not None:
            named = text("SELECT setval(pg_get_serial_sequence(:table, :column), :highest)")
            highest = connection.execute(select(func.max(column))).scalar()
            if highest is not None:
                connection.execute(named, {"table": table.name, "column": column.name, "highest": highest})


async def _compare(
    old: AsyncConnection, new: AsyncConnection, table: Table, progress: Callable[[int], None]
) -> int:
    """Compare all rows of a table, sealed values byte by byte; return their number.

    Raises:
        RowsDiffer: A row differs, is missing, or is one too many.
    """
    key = list(table.primary_key)
    n_rows = 0
    async for page in _pages(old, table):
        wanted = [tuple(getattr(row, column.name) for column in key) for row in page]
        there = tuple_(*key).in_(wanted) if len(key) > 1 else key[0].in_([only for (only,) in wanted])
        found = (await new.execute(select(table).where(there))).all()
        if {tuple(row) for row in found} != {tuple(row) for row in page}:
            raise RowsDiffer(f"A row of {table.name} differs after the move; the old data stay in use.")
        n_rows += len(page)
        progress(len(page))
    counted = _without_marks(select(func.count()).select_from(table), table)
    if (await new.execute(counted)).scalar_one() != n_rows:
        raise RowsDiffer(f"{table.name} has other rows after the move; the old data stay in use.")
    return n_rows
