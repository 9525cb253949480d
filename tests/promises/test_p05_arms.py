"""P5, P3, P26: the counts by which candidates are dealt forget exactly.

A crowd likes replies of one style. A visitor of the same server likes another one, in replies that two kinds
of writers and a learnt wish wrote, and forgets. Then the counts of all members, of the server and of each
member are the same to the last bit as before the visitor came, in this process and in another one. A feedback
that is undone or started over is gone from the next reply on, a pause adds nothing, and the retention of
texts takes nothing away.

Control: without the forget the counts differ; counts that memory keeps over a forget differ, too.
"""

from __future__ import annotations

import pytest

from bot.memory import MemberMemory
from bot.replies.learnt_memory import ArmCounts
from personalization.ranking.arms import Tally
from personalization.ranking.dealing import STYLE, WISH, WRITER
from storage.errors import LearningPaused
from storage.records import Seat, Who
from storage.store import Store
from tests.fakes import FixedClock
from tests.rig.seats import EVEN, book_of, fan_of, liked, seats
from tests.rig.size import sized
from tests.unit.storage.given import settings_in

pytestmark = pytest.mark.promise("P5")

CROWD = [Who(3, 1000 + person) for person in range(sized(ci=6, full=30))]
VISITOR = Who(3, 1999)
VISIT = [
    *fan_of("warm", than="concise", n=3),
    *((Seat(1, "warm", "poet", "shorter", True, EVEN), "👍") for _ in range(3)),
]


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
async def store(tmp_path, clock):
    async with await Store.open(settings_in(tmp_path, group_commit_ms=0), now=clock) as store:
        for who in CROWD:
            await liked(store, who, fan_of("concise", than="warm"))
        yield store


async def everything(store: Store, book) -> list[object]:
    """Return all counts: of all, of the server, of each member."""
    await book.refresh()
    return [await book.levels(store.member_id(who), store.guild_id(who)) for who in CROWD]


async def visited(store: Store, book):
    """Return the counts before the visit and after it."""
    before = await everything(store, book)
    await liked(store, VISITOR, VISIT)
    during = await everything(store, book)
    return before, during


async def test_after_a_forget_the_counts_are_as_if_the_member_had_never_been_there(store):
    book, other_process = book_of(store), book_of(store)
    before, _ = await visited(store, book)

    await store.privacy.forget(VISITOR.user_id)

    assert await everything(store, book) == before
    assert await everything(store, other_process) == before
    assert await book.own(store.member_id(VISITOR), store.guild_id(VISITOR)) == {}


async def test_control_without_the_forget_the_counts_differ(store):
    book = book_of(store)
    before, during = await visited(store, book)
    own = await book.own(store.member_id(VISITOR), store.guild_id(VISITOR))

    assert before[0][0][STYLE]["warm"] != during[0][0][STYLE]["warm"]
    assert before[0][1] != during[0][1]
    assert "poet" in own[WRITER] and "shorter" in own[WISH]
    assert "poet" not in during[0][0].get(WRITER, {}), "one person speaks for no option"


async def test_memory_drops_the_counts_of_many_members_at_once(store):
    book, memory = book_of(store), MemberMemory(store.member_id)
    memory.register("arm counts", ArmCounts(book))
    await visited(store, book)
    receipt = await store.privacy.forget(VISITOR.user_id)

    memory.forget_person(VISITOR.user_id, receipt.member_ids)

    assert await book.levels(None, store.guild_id(VISITOR)) == [{}, {}, {}]


async def test_control_unregistered_counts_still_hold_the_visitor(store):
    book, memory = book_of(store), MemberMemory(store.member_id)
    _, during = await visited(store, book)
    receipt = await store.privacy.forget(VISITOR.user_id)

    memory.forget_person(VISITOR.user_id, receipt.member_ids)

    assert (await book.levels(None, store.guild_id(VISITOR)))[:2] == during[0][:2]


async def test_counts_whose_reading_spans_a_forget_are_not_used(store):
    book = book_of(store)
    answered = store.choices.answered

    class Slow:
        async def answered(self, *args, **kwargs):
            page = await answered(*args, **kwargs)
            book.clear()  # a member leaves between two pages
            return page

    book._choices = Slow()

    await book.refresh()

    assert await book.levels(None, store.guild_id(VISITOR)) == [{}, {}, {}]


async def test_what_is_undone_or_started_over_is_gone_from_the_next_reply_on(store):
    book, who = book_of(store), CROWD[0]
    member_id, guild = store.member_id(who), store.guild_id(who)
    (message,) = await liked(store, who, [(seats("playful", 1)[0], "👍")])
    assert (await book.own(member_id, guild))[STYLE]["playful"] == Tally(1.0, 0.0)

    await store.feedback.record_reaction(who, message, "👍", added=False)
    assert "playful" not in (await book.own(member_id, guild))[STYLE]

    await store.learning.start_over(who)
    assert await book.own(member_id, guild) == {}


async def test_a_pause_adds_nothing(store):
    book, who = book_of(store), CROWD[0]
    before = await everything(store, book)
    await store.pauses.pause(who)

    try:
        await liked(store, who, fan_of("warm", than="concise"))
    except LearningPaused:
        pass

    assert await everything(store, book) == before


async def test_the_retention_of_texts_takes_nothing_from_the_counts(store, clock):
    book = book_of(store)
    before = await everything(store, book)
    clock.advance(days=400)

    assert await store.replies.expire_texts() > 0
    assert await everything(store, book) == before


async def test_the_order_of_members_has_no_effect(tmp_path):
    found = []
    for order in (CROWD, CROWD[::-1]):
        folder = tmp_path / str(len(found))
        async with await Store.open(settings_in(folder, group_commit_ms=0), now=FixedClock()) as store:
            for who in order:
                likes = fan_of("concise", than="warm", n=1 + CROWD.index(who) % 3)
                await liked(store, who, likes)
            book = book_of(store)
            await book.refresh()
            found.append((await book.levels(None, b""))[0])

    assert found[0] == found[1] != {}
