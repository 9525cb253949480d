"""Reports: only on stored replies, counted by reason, without reporters; deleted with their reply."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from storage.database.schema import reports
from storage.records import Who
from storage.replies.reported_replies import ReportedReply
from tests.unit.storage.given import ALICE, BOB, CHANNEL, FIRST, GUILD, SECOND, START, posted


@pytest.fixture
def here(store):
    return store.guild_id(ALICE)


async def rows(store) -> int:
    return len(await store._reader.run(lambda c: c.execute(select(reports)).all()))


async def test_reports_are_counted_by_reason_over_all_messages_of_a_reply(store, here, clock):
    reply = await posted(store, ALICE, FIRST, SECOND)
    for message_id, reason in ((FIRST, "rude"), (SECOND, "wrong"), (SECOND, "rude")):
        assert await store.reports.record(here, message_id, reason) is True
        clock.advance(days=1)

    expected = ReportedReply(reply, START, {"rude": 2, "wrong": 1}, CHANNEL, (FIRST, SECOND))

    assert await store.reports.waiting(here, 5) == ([expected], 1)
    assert await store.reports.of(here, reply) == expected


async def test_another_server_neither_reports_sees_nor_dismisses(store, here):
    reply = await posted(store, ALICE, FIRST)
    elsewhere = store.guild_id(Who(GUILD + 1, ALICE.user_id))
    assert await store.reports.record(elsewhere, FIRST, "rude") is False
    await store.reports.record(here, FIRST, "rude")

    assert await store.reports.waiting(elsewhere, 5) == ([], 0)
    assert await store.reports.of(elsewhere, reply) is None
    assert await store.reports.dismiss(elsewhere, reply) is False
    assert await store.reports.dismiss(here, reply) is True
    assert await rows(store) == 0


async def test_nothing_is_stored_of_a_reply_that_is_not(store, here):
    assert await store.reports.record(here, FIRST, "rude") is False
    assert await rows(store) == 0


@pytest.mark.parametrize("end", ["asker forgets", "asker withdraws", "message deleted", "a month passes"])
async def test_a_report_goes_with(store, here, clock, end):
    await posted(store, ALICE, FIRST)
    await posted(store, BOB, SECOND)
    for message_id in (FIRST, SECOND):
        await store.reports.record(here, message_id, "rude")
    clock.advance(days=29, hours=23)
    assert await store.reports.expire() == 0

    match end:
        case "asker forgets":
            await store.privacy.forget(ALICE.user_id)
        case "asker withdraws":
            await store.privacy.refuse(ALICE)
        case "message deleted":
            await store.feedback.record_deleted([FIRST])
        case _:
            clock.advance(hours=2)
            assert await store.reports.expire() == 2

    left, n_left = await store.reports.waiting(here, 5)
    expected = [] if end == "a month passes" else [(SECOND,)]
    assert [report.message_ids for report in left] == expected
    assert (n_left, await rows(store)) == (len(expected), len(expected))
