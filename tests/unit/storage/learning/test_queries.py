"""Rounds: due members, cursor and heads stored together, erased members skipped, the prior."""

import asyncio
import sqlite3
from datetime import timedelta

import pytest
from sqlalchemy import event, text

from storage.database import change_numbers as changes
from storage.errors import SealBroken
from storage.keys.sealing import SealingKey
from storage.records import DataSummary, HeadRecord, MemberId, NewHead, PriorRecord, RoundRecord, Who
from tests.unit.storage.given import ALICE, BOB, CAROL, FIRST, START, due, posted, round_of

PRIOR = PriorRecord(b"prior", 20, START)


@pytest.fixture
async def liked(store):
    """Alice's reply, liked by Carol, then Bob, then Alice."""
    for who in (BOB, CAROL):
        await store.consent.record(who)
    reply_id = await posted(store, ALICE, FIRST)
    for who in (CAROL, BOB, ALICE):
        await store.feedback.record_reaction(who, FIRST, "👍", added=True)
    return reply_id


def damage_keys(settings, statement, member_id):
    """Damage a closed key store, as an older backup or a bad block would."""
    raw = sqlite3.connect(settings.key_dir / "keys.db")
    with raw:
        assert raw.execute(statement, (member_id,)).rowcount == 1
    raw.close()


async def test_changed_members_come_in_the_order_of_their_latest_change(store, liked):
    await store.feedback.record_reaction(CAROL, FIRST, "🎉", added=True)
    changed = await store.learning.changed_after(0, 10)

    assert await due(store) == [BOB, ALICE, CAROL]
    assert len({c.changed_seq for c in changed}) == 3
    assert await store.learning.changed_after(0, 2) == changed[:2]
    assert await store.learning.changed_after(changed[1].changed_seq, 10) == changed[2:]
    assert await store.learning.count_changed_after(changed[0].changed_seq) == 2


async def test_round_moves_the_cursor_and_keeps_heads(store, liked):
    alice, bob = store.member_id(ALICE), store.member_id(BOB)
    cursor = (await store.learning.changed_after(0, 10))[-1].changed_seq
    record = RoundRecord(START, START + timedelta(seconds=2), cursor, 2, 3, "cpu")

    version = await store.learning.record_round(
        record, [NewHead(alice, b"head-a", 3), NewHead(bob, b"head-b", 1)]
    )

    assert version == 1
    assert await store.learning.cursor() == cursor
    assert await store.learning.latest_round() == record
    assert await store.learning.head_of(alice) == HeadRecord(1, 3, b"head-a", record.finished_at)
    assert await store.learning.head_of(bob) == HeadRecord(1, 1, b"head-b", record.finished_at)
    assert await due(store) == []
    assert (await store.privacy.summary(ALICE)).head_version == 1


async def test_next_round_replaces_removes_and_leaves_heads(store, liked):
    alice, bob, carol = (store.member_id(who) for who in (ALICE, BOB, CAROL))
    await round_of(store, *(NewHead(m, b"old", 1) for m in (alice, bob, carol)))

    version = await round_of(store, NewHead(alice, b"new", 2), NewHead(bob, None, 0))

    assert version == 2
    assert (await store.learning.head_of(alice)).body == b"new"
    assert await store.learning.head_of(bob) is None
    assert (await store.learning.head_of(carol)).version == 1


async def test_member_who_left_during_the_round_gets_no_head(store, liked):
    alice, bob = store.member_id(ALICE), store.member_id(BOB)
    await store.privacy.forget(BOB.user_id)

    await round_of(store, NewHead(alice, b"a", 1), NewHead(bob, b"b", 1))

    assert await store.learning.head_of(bob) is None
    assert (await store.learning.head_of(alice)).body == b"a"


async def test_change_during_the_round_is_due_again(store, liked):
    seen = await store.learning.changed_after(0, 10)
    await store.feedback.record_reaction(CAROL, FIRST, "🎉", added=True)

    await store.learning.record_round(RoundRecord(START, START, seen[-1].changed_seq, 3, 3, "cpu"), [])

    assert await due(store) == [CAROL]


async def test_failed_round_changes_nothing(store, liked):
    alice = store.member_id(ALICE)
    await round_of(store, NewHead(alice, b"good", 1))

    with pytest.raises(Exception, match="ck_heads_n_labels"):
        await round_of(store, NewHead(alice, b"bad", -1))

    assert (await store.learning.head_of(alice)).body == b"good"
    assert (await store.learning.latest_round()).cursor == await store.learning.cursor()
    assert await round_of(store) == 2


async def test_rounds_without_anything_are_empty(store):
    assert await store.learning.cursor() == 0
    assert await store.learning.latest_round() is None
    assert await store.learning.prior() is None
    assert await store.learning.changed_after(0, 10) == []
    assert await store.learning.head_of(MemberId(b"x" * 16)) is None


async def test_members_with_feedback_come_in_pages(store, liked):
    ids = sorted(store.member_id(who) for who in (ALICE, BOB, CAROL))

    first = await store.learning.members_with_feedback(None, 2)
    rest = await store.learning.members_with_feedback(first[-1], 2)

    assert [*first, *rest] == ids


async def test_feedback_of_more_members_than_fit_one_query_comes_whole(store, monkeypatch):
    monkeypatch.setattr(changes, "PAGE", 7)
    members = [Who(ALICE.guild_id, user) for user in range(1, 31)]
    await posted(store, ALICE, FIRST)
    await asyncio.gather(*map(store.consent.record, members))
    await asyncio.gather(*(store.feedback.record_reaction(who, FIRST, "👍", added=True) for who in members))
    ids = [store.member_id(who) for who in members]

    found = await store.learning.feedback_of(ids)

    assert list(found) == ids
    assert {len(rows) for rows in found.values()} == {1}


async def test_new_prior_replaces_the_old_and_makes_everybody_due(store, liked):
    await store.learning.record_prior(PriorRecord(b"old", 5, START))
    await round_of(store)

    assert await store.learning.record_prior(PRIOR) is True
    assert await store.learning.prior() == PRIOR
    assert set(await due(store)) == {ALICE, BOB, CAROL}
    assert len({c.changed_seq for c in await store.learning.changed_after(0, 10)}) == 3


async def test_prior_that_may_hold_traces_of_somebody_gone_is_not_stored(store, liked):
    before = store.learning.erasures
    await store.privacy.forget(BOB.user_id)

    assert await store.learning.record_prior(PRIOR, erasures=before) is False
    assert await store.learning.prior() is None
    assert await store.learning.record_prior(PRIOR, erasures=store.learning.erasures) is True


async def test_moved_or_replayed_rows_do_not_open(store, liked, settings):
    """Ciphertexts swapped between members and columns, or put back after a change, are refused."""
    alice, bob = store.member_id(ALICE), store.member_id(BOB)
    await round_of(store, NewHead(alice, b"head-a", 1), NewHead(bob, b"head-b", 1))

    async def sql(statement, **values):
        await store._writer.submit(lambda c: c.execute(text(statement), values) and None)

    async def value(statement, **values):
        return await store._reader.run(lambda c: c.execute(text(statement), values).scalar())

    await sql("UPDATE heads SET body = (SELECT body FROM heads WHERE member_id = :b)", b=bob)
    assert (await store.learning.head_of(bob)).body == b"head-b"
    with pytest.raises(SealBroken):
        await store.learning.head_of(alice)

    old = await value("SELECT state FROM feedback WHERE member_id = :b", b=bob)
    await store.feedback.record_reaction(BOB, FIRST, "👎", added=True)
    await sql("UPDATE feedback SET state = :old WHERE member_id = :b", old=old, b=bob)
    assert await store.learning.feedback_of([bob]) == {bob: []}
    assert len((await store.learning.feedback_of([alice]))[alice]) == 1

    await sql("UPDATE replies SET features = decision")
    assert await store.learning.feedback_of([alice]) == {alice: []}


async def test_one_member_without_a_key_costs_the_others_nothing(store, liked, settings, caplog):
    """The member's rows are left out and counted once; heads and cursor of other members do not wait."""
    alice, bob, carol = (store.member_id(who) for who in (ALICE, BOB, CAROL))
    await store.close()
    damage_keys(settings, "DELETE FROM member_keys WHERE member_id = ?", bob)
    damage_keys(settings, "UPDATE member_keys SET wrapped = zeroblob(60) WHERE member_id = ?", carol)

    async with await type(store).open(settings) as again:
        found = await again.learning.feedback_of([alice, bob, carol])
        version = await round_of(again, *(NewHead(m, b"head", 1) for m in (alice, bob, carol)))

        assert {m: len(rows) for m, rows in found.items()} == {alice: 1, bob: 0, carol: 0}
        assert [
            record.message.split(":")[0]
            for record in caplog.records
            if record.levelname == "WARNING" and record.name.startswith("storage.learning")
        ] == ["2 rows of feedback left out"]
        assert bob.hex() not in caplog.text
        assert version == 1
        assert (await again.learning.head_of(alice)).body == b"head"
        assert await due(again) == []


async def test_member_who_leaves_while_feedback_is_read_is_no_lost_key(store, liked, caplog):
    """After a correct erasure the log must not advise restoring an older key store."""
    alice, bob = store.member_id(ALICE), store.member_id(BOB)
    bulk = store._bulk

    async def read_then_forgotten(query):
        found = await type(bulk).run(bulk, query)
        await store.privacy.forget(BOB.user_id)
        return found

    bulk.run = read_then_forgotten
    caplog.set_level("INFO")
    found = await store.learning.feedback_of([alice, bob])

    assert {m: len(rows) for m, rows in found.items()} == {alice: 1, bob: 0}
    assert [r.levelname for r in caplog.records if "left out" in r.message] == ["INFO"]
    assert "keys.db" not in caplog.text


@pytest.mark.parametrize(
    "damage", ["DELETE FROM member_keys", "UPDATE member_keys SET wrapped = zeroblob(60)"]
)
async def test_member_whose_key_was_lost_may_agree_again_and_starts_from_nothing(
    store, liked, settings, damage
):
    alice = store.member_id(ALICE)
    await round_of(store, NewHead(alice, b"head", 1))
    await store.close()
    damage_keys(settings, f"{damage} WHERE member_id = ?", alice)

    async with await type(store).open(settings) as again:
        await again.consent.record(ALICE)

        assert await again.privacy.summary(ALICE) == DataSummary(START, 0, 0, None, 0)
        assert await again.learning.head_of(alice) is None
        assert await due(again) == sorted(
            [BOB, CAROL], key=again.member_id
        )  # their feedback was deleted with the reply
        await posted(again, ALICE, FIRST)
        await again.feedback.record_reaction(ALICE, FIRST, "👎", added=True)
        assert [row.reactions for row in (await again.learning.feedback_of([alice]))[alice]] == [("👎",)]


async def test_only_the_newest_feedback_is_read_and_comes_oldest_first(store):
    reply_ids = [await posted(store, ALICE, FIRST + i) for i in range(10)]
    for i in range(10):
        await store.feedback.record_reaction(ALICE, FIRST + i, "👍", added=True)
    alice = store.member_id(ALICE)

    async def read(newest):
        return [row.reply_id for row in (await store.learning.feedback_of([alice], newest))[alice]]

    assert await read(7) == reply_ids[-7:]
    assert await read(9) == reply_ids[-9:]
    assert await read(100) == reply_ids


async def test_head_made_of_what_was_forgotten_meanwhile_is_not_stored(store, liked):
    """Not even if the member has agreed again by then."""
    before = store.learning.erasures
    bob, cursor = store.member_id(BOB), await store.learning.cursor()
    await store.privacy.forget(BOB.user_id)
    await store.consent.record(BOB)
    record = RoundRecord(START, START, cursor, 1, 1, "cpu")

    assert await store.learning.record_round(record, [NewHead(bob, b"old", 1)], erasures=before) is None
    assert (await store.learning.head_of(bob), await store.learning.latest_round()) == (None, None)
    assert (
        await store.learning.record_round(record, [NewHead(bob, b"new", 1)], erasures=store.learning.erasures)
        == 1
    )


async def test_labels_read_while_a_member_is_leaving_count_as_read_before(store, liked):
    read: list[int] = []

    def watched(_):
        read.append(store.learning.erasures)  # like a round that starts now: the rows still exist

    await store.privacy.forget(BOB.user_id, watched)

    record = RoundRecord(START, START, await store.learning.cursor(), 1, 1, "cpu")
    assert await store.learning.record_round(record, [], erasures=read[0]) is None


async def test_feedback_counts_leave_out_who_gave_none(store, liked):
    await store.consent.record(Who(ALICE.guild_id, 4))
    nobody = store.member_id(Who(ALICE.guild_id, 4))
    alice, bob = store.member_id(ALICE), store.member_id(BOB)

    assert await store.learning.feedback_counts([alice, bob, nobody]) == {alice: 1, bob: 1}


async def test_a_reply_that_many_gave_feedback_on_is_opened_once(store, liked, monkeypatch):
    opened = []
    whole = SealingKey.open

    def counted(key, sealed, slot):
        opened.append(slot.column)
        return whole(key, sealed, slot)

    monkeypatch.setattr(SealingKey, "open", counted)

    await store.learning.feedback_of([store.member_id(who) for who in (ALICE, BOB, CAROL)])

    assert sorted(opened) == ["features", "state", "state", "state"]


@pytest.mark.sqlite_only("PostgreSQL plans by how much there is; with these few rows it reads tables whole")
async def test_no_query_of_a_reply_or_a_round_reads_a_table_whole(store, liked):
    """One member's head is found by key, and the cost of a round depends on its own members only."""
    alice, bob = store.member_id(ALICE), store.member_id(BOB)
    await round_of(store, NewHead(alice, b"head", 1))
    asked = []

    def watch(_connection, _cursor, statement, parameters, _context, _many):
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    for engine in (store._reader._engine.sync_engine, store._bulk._engine):
        event.listen(engine, "before_cursor_execute", watch)
    assert await store.learning.head_of(alice) is not None
    n_head = len(asked)
    await store.learning.changed_after(0, 10)
    await store.learning.feedback_of([alice, bob], 1000)
    await store.learning.feedback_of([alice], 0)

    def plan(connection, statement, parameters):
        explained = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row.detail for row in explained]

    plans = [await store._reader.run(lambda c, one=one: plan(c, *one)) for one in asked]
    assert n_head == 1
    assert sorted(plans[0]) == [
        "SEARCH heads USING INDEX sqlite_autoindex_heads_1 (member_id=?)",
        "SEARCH members USING INDEX sqlite_autoindex_members_1 (member_id=?)",
    ]
    assert len(plans) == 6
    assert [step for steps in plans for step in steps if step.startswith("SCAN")] == []
