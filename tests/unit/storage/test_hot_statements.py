"""No statement of a reply, a reaction or a round reads a table whole, on either database.

Every statement of these calls is explained again. A small table is always read whole by PostgreSQL, so there
the test switches that plan off: what is still read whole has no index.

Control: a query without an index is found.
"""

from dataclasses import replace

import pytest
from sqlalchemy import event, text

from storage.database.schema import metadata
from storage.keys import wrapping
from storage.members.wishes import Wish
from storage.records import NewHead, Pick, Picked, Reacted, Remark
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


async def around_a_prompt(store):
    """What is read before a reply is written, and what its buttons read and write."""
    reply_id = await store.replies.of_message(FIRST)
    await store.guild_settings.of(1)
    await store.pauses.is_paused(ALICE)
    await store.consent.key_id_of(ALICE)
    await store.notes.of("paused")
    await store.faq.versions(store.guild_id(ALICE))
    await store.safety.of(store.guild_id(ALICE))
    await store.coordination.catch_up()
    for read in (store.replies.summary, store.replies.channel_of, store.replies.reason):
        await read(ALICE, reply_id)
    await store.posted.of([FIRST, SECOND])
    await store.feedback.summary(ALICE)


async def choices_remarks_and_reports(store):
    reply_id = await store.replies.of_message(FIRST)
    pick = Pick(Picked.FIRST, "features", b"\0" * 4, b"\1" * 4, reply_id)
    number = await store.preferences.record_pick(ALICE, pick)
    await store.preferences.candidates_of(ALICE, reply_id)
    await store.preferences.picked_of(ALICE, reply_id)
    await store.preferences.undo(ALICE, number)
    await store.taps.record(ALICE, "short", replace(pick, reply_id=None), since=0)
    await store.taps.of(ALICE)
    await store.taps.of_row(ALICE, since=0)
    await store.taps.undo(ALICE, ["short"], since=0)
    await store.remarks.record(ALICE, reply_id, Remark(("wrong",), "words"))
    await store.remarks.of(ALICE, reply_id)
    await store.reports.record(store.guild_id(ALICE), FIRST, "rude")
    await store.reports.of(store.guild_id(ALICE), reply_id)
    await store.reports.waiting(store.guild_id(ALICE), 10)
    await store.reports.dismiss(store.guild_id(ALICE), reply_id)


async def events_from_discord(store):
    await store.feedback.record_events(
        [Reacted(1, SECOND, BOB, "👎", False, True), Reacted(1, SECOND, BOB, "👎", False, False)]
    )
    await store.feedback.record_clear(SECOND)
    await store.feedback.record_deleted([SECOND])


async def a_round(store):
    await due(store)
    await standing(store, ALICE)
    await round_of(store, NewHead(store.member_id(ALICE), b"head", 1))
    await store.learning.head_of(store.member_id(ALICE))
    await store.learning.changed_after(0, 10)
    members = [store.member_id(who) for who in (ALICE, BOB)]
    await store.learning.feedback_of(members, 1)
    await store.learning.feedback_counts(members)
    await store.preferences.counts(members)
    await store.preferences.of(members, 10)


async def jobs_and_pauses(store):
    await store.learning.count_changed_after(0)
    await store.learning.latest_round()
    await store.pauses.pause(BOB)
    await store.pauses.resume(BOB)


CALLS = (
    a_reply,
    around_a_prompt,
    feedback,
    settings_and_wishes,
    choices_remarks_and_reports,
    a_round,
    events_from_discord,
    jobs_and_pauses,
)
HOT = {call.__name__: call for call in CALLS}


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
