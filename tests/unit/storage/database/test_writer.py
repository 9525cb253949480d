"""The writer: ordered, grouped, isolated, atomic, and acknowledging only after the commit."""

import asyncio
import sqlite3
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, event, insert, select, text

from storage.database.writer import Writer
from storage.errors import DatabaseFailed, StoreClosed, WriterFull
from storage.opening import backend_of

t = Table(
    "t", MetaData(), Column("n", Integer, primary_key=True), Column("v", String, unique=True)
)  # numbered in order of arrival


@pytest.fixture
async def backend(settings):
    async with AsyncExitStack() as stack:
        backend = backend_of(settings)
        await backend.open(stack)
        yield backend


@pytest.fixture
async def connection(backend):
    async with AsyncExitStack() as stack:
        connection = await backend.connect_writer(stack)
        async with connection.begin():
            await connection.run_sync(t.create)
        yield connection


@pytest.fixture
async def writer(backend, connection):
    writer = Writer(connection, backend, wait_s=0.005)
    yield writer
    await writer.close()


@pytest.fixture
def commits(connection):
    """Count the commits."""
    seen = []
    event.listen(connection.engine.sync_engine, "commit", seen.append)
    return seen


@pytest.fixture
async def rows(backend, connection):
    """Return the rows that another connection sees: only committed ones."""
    reader = backend.reader()

    async def committed():
        return await reader.run(lambda c: list(c.execute(select(t.c.v).order_by(t.c.n)).scalars()))

    yield committed
    await reader.close()


def put(value):
    return lambda connection: connection.execute(insert(t).values(v=str(value))).rowcount


async def test_acknowledged_is_committed(writer, rows):
    assert await writer.submit(put(1)) == 1
    assert await rows() == ["1"]


async def test_units_are_applied_in_the_order_of_submitting(writer, rows):
    await asyncio.gather(*(writer.submit(put(value)) for value in range(600)))

    assert await rows() == [str(value) for value in range(600)]


async def test_units_of_one_moment_share_a_commit(writer, commits):
    await asyncio.gather(*(writer.submit(put(value)) for value in range(20)))

    assert len(commits) == 1


async def test_units_during_a_commit_share_the_next(writer, commits, connection):
    late = []

    def while_committing(_connection):
        if len(late) < 10:
            late.extend(writer.submit(put(f"late-{i}")) for i in range(10))

    event.listen(connection.engine.sync_engine, "commit", while_committing)
    await writer.submit(put("first"))
    await asyncio.gather(*late)

    assert len(commits) == 2


async def test_failing_unit_undoes_only_itself(writer, rows, commits):
    def half(connection):
        put("half")(connection)
        raise LookupError("changed my mind")

    units = [put("a"), half, put("a"), put("b")]
    outcomes = await asyncio.gather(*map(writer.submit, units), return_exceptions=True)

    assert await rows() == ["a", "b"]
    assert [type(outcome) for outcome in outcomes] == [int, LookupError, DatabaseFailed, int]
    assert len(commits) == 1


@pytest.mark.parametrize("alone", [True, False])
async def test_failed_commit_acknowledges_nobody_and_hinders_nobody(writer, rows, alone):
    orphan = "CREATE TABLE o (v TEXT REFERENCES t (v) DEFERRABLE INITIALLY DEFERRED)"
    await writer.submit(lambda c: c.execute(text(orphan)) and None)

    def put_orphan(connection):
        connection.execute(text("INSERT INTO o VALUES ('nobody')"))

    async def job(connection):
        async with connection.begin():
            await connection.run_sync(put_orphan)

    waiting = [writer.submit_alone(job)] if alone else [writer.submit(put("a")), writer.submit(put_orphan)]
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    await writer.submit(put("c"))

    assert {type(outcome) for outcome in outcomes} == {DatabaseFailed}
    assert await rows() == ["c"]


@pytest.mark.sqlite_only("a full disk is the server's to tell")
async def test_full_disk_is_an_error_until_there_is_room(writer, rows):
    await writer.submit(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 10") and None)
    outcomes = await asyncio.gather(
        *(writer.submit(put(f"{value}" * 2000)) for value in range(20)), return_exceptions=True
    )
    await writer.submit(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1000") and None)
    await writer.submit(put("room"))

    refused = [outcome for outcome in outcomes if isinstance(outcome, DatabaseFailed)]
    assert "full" in str(refused[0])
    assert len(await rows()) == len(outcomes) - len(refused) + 1


async def test_cancelled_caller_does_not_cut_its_unit(writer, rows):
    async def caller():
        await writer.submit(lambda c: [put(value)(c) for value in ("x", "y")])

    for delay in (0, 0.001, 0.005, 0.006, 0.007, 0.008):  # before, at and around the start of the transaction
        task = asyncio.create_task(caller())
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or delay
        await writer.submit(lambda c: None)

        assert await rows() == ["x", "y"]
        await writer.submit(lambda c: c.execute(t.delete()) and None)


async def test_caller_cancelled_between_two_statements_does_not_cut_its_unit(writer, rows):
    def unit(connection):
        put("x")(connection)
        task.cancel()
        put("y")(connection)

    async def caller():
        await writer.submit(unit)

    task = asyncio.create_task(caller())
    await asyncio.wait([task])
    await writer.submit(lambda c: None)

    assert task.cancelled()
    assert await rows() == ["x", "y"]


async def test_job_alone_has_no_unit_between_its_transactions(writer, rows):
    async def job(connection):
        for value in ("one", "two"):
            async with connection.begin():
                await connection.run_sync(put(value))
        return "done"

    before, alone, after = writer.submit(put("before")), writer.submit_alone(job), writer.submit(put("after"))
    await asyncio.gather(before, alone, after)

    assert alone.result() == "done"
    assert await rows() == ["before", "one", "two", "after"]


async def test_full_queue_refuses_and_keeps_what_it_took(backend, connection, rows):
    writer = Writer(connection, backend, wait_s=0.001, limit=3)
    taken = [writer.submit(put(value)) for value in range(3)]

    with pytest.raises(WriterFull, match="3 writes are waiting"):
        writer.submit(put("too much"))
    await asyncio.gather(*taken)
    await writer.close()

    assert await rows() == ["0", "1", "2"]


async def test_closing_writes_what_waits_and_refuses_more(writer, rows):
    waiting = [writer.submit(put(value)) for value in range(5)]

    await writer.close()
    await writer.close()

    assert await rows() == ["0", "1", "2", "3", "4"]
    assert [future.result() for future in waiting] == [1] * 5
    with pytest.raises(StoreClosed):
        writer.submit(put("late"))


async def test_stopped_task_leaves_nobody_waiting(writer, rows):
    waiting = [writer.submit(put(value)) for value in range(3)]
    for task in asyncio.all_tasks():
        if task.get_name() == "storage-writer":
            task.cancel()

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} <= {DatabaseFailed, StoreClosed}
    assert await rows() == []
    with pytest.raises(StoreClosed):
        writer.submit(put("late"))


@pytest.mark.sqlite_only("the log is the server's")
async def test_log_held_by_another_program_is_emptied_later(writer, settings, caplog):
    await writer.submit(put("a"))
    other = sqlite3.connect(settings.data_dir / "data.db", isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM t").fetchone()

    await writer.submit_alone(lambda _: writer.empty_log(wait_s=0.01))
    held = (settings.data_dir / "data.db-wal").stat().st_size
    other.execute("COMMIT")
    other.close()
    await writer.submit(lambda c: None)
    await writer.submit(lambda c: None)

    assert held > 0
    assert (settings.data_dir / "data.db-wal").stat().st_size == 0
    assert "could not be emptied" in caplog.text
