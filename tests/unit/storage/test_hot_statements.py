"""No statement of a reply, a reaction or a round reads a table whole, on either database.

Every statement of these calls is explained again. A small table is always read whole by PostgreSQL, so there
the test switches that plan off: what is still read whole has no index.

Control: a query without an index is found.
"""

import pytest
from sqlalchemy import event, text

from storage.database.schema import metadata
from storage.keys import wrapping
from storage.members.wishes import Wish
from storage.records import NewHead
from tests.unit.storage.given import ALICE, BOB, FIRST, SECOND, due, posted, round_of, standing

ONE_ROW = {"origin", "prior", "system_keys", "ledger_origin"}
"""Tables with one row, or two."""


async def a_reply(store):
    await posted(store, ALICE, FIRST)
    await posted(store, BOB, SECOND)
    await store.replies.latest(ALICE)
    await store.replies.of_message(FIRST)
    await store.consent.of(ALICE)
    await store.consent.bound(ALICE)


async def feedback(store):
    reply_id = await store.replies.of_message(FIRST)
    for who in (ALICE, BOB):
        await store.feedback.record_reaction(who, FIRST, "👍", added=True)
    await store.feedback.record_rating(ALICE, reply_id, 4)
    await store.feedback.undo(ALICE, reply_id)


async def settings_and_wishes(store):
    await store.wishes.put(ALICE, Wish(words="kindly"))
    await store.wishes.of(ALICE)
    await store.safety.record_terms(store.guild_id(ALICE), ("a word",))


async def a_round(store):
    await due(store)
    await standing(store, ALICE)
    await round_of(store, NewHead(store.member_id(ALICE), b"head", 1))
    await store.learning.head_of(store.member_id(ALICE))
    await store.learning.changed_after(0, 10)


HOT = {call.__name__: call for call in (a_reply, feedback, settings_and_wishes, a_round)}


def engines_of(store):
    bulk = store._bulk._engine
    return {
        "reader": store._reader._engine.sync_engine,
        "bulk": getattr(bulk, "sync_engine", bulk),
        "writer": store._writer._connection.engine.sync_engine,
        "keys": store._keys._part.engine.sync_engine,
    }


async def scans_of(store, call) -> set[str]:
    """Return the tables that a statement of this call reads whole."""
    asked = []

    def watch(connection, _cursor, statement, parameters, _context, many):
        if statement.split()[0] in ("SELECT", "UPDATE", "DELETE") and "pg_" not in statement:
            asked.append((connection.engine, statement, parameters[0] if many else parameters))

    engines = engines_of(store)
    for engine in engines.values():
        event.listen(engine, "before_cursor_execute", watch)
    await call(store)
    for engine in engines.values():
        event.remove(engine, "before_cursor_execute", watch)
    assert asked
    plans = {statement: (engine, parameters) for engine, statement, parameters in asked}
    found = set()
    for statement, (engine, parameters) in plans.items():
        part = store._keys._part if engine is engines["keys"] else None

        def explained(connection, one=(statement, parameters)):
            return explain(connection, *one)

        if part is None:
            found |= await store._writer.submit(explained)
        else:
            found |= await part.run(explained)
    return found - ONE_ROW


def explain(connection, statement, parameters):
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        steps = [row.detail.split() for row in rows]
        if "LIMIT" in statement and not any("B-TREE" in step for step in steps):
            return set()  # it walks in the order of the key and stops
        whole = {step[1] for step in steps if step[0] == "SCAN" and "INDEX" not in step}
        return whole & metadata.tables.keys() | whole & wrapping.metadata.tables.keys()
    connection.execute(text("SET LOCAL enable_seqscan = off"))
    rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars()
    return {row.split("Seq Scan on ")[1].split()[0] for row in rows if "Seq Scan on " in row}


@pytest.mark.parametrize("name", HOT)
async def test_no_hot_statement_reads_a_table_whole(store, name):
    for other in HOT:
        if other == name:
            break
        await HOT[other](store)

    assert await scans_of(store, HOT[name]) == set()


async def test_control_a_query_without_an_index_is_found(store):
    async def count(store):
        await store._reader.run(lambda c: c.execute(text("SELECT count(*) FROM members WHERE paused")).all())

    assert await scans_of(store, count) == {"members"}
