"""P41: what a member leaves in one process is left in all processes of the bot.

Two stores on one PostgreSQL database stand for two processes, on one host, and on two hosts without shared
files whose keys are in a database of their own. A member acts in one and forgets in the other.

Controls: the store does not compare the key that a change was made under; a forget of a member who never
agreed is not announced; the loss of the listening connection is noticed only when it is connected again.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from storage.database.peers import News
from storage.errors import NoConsent
from storage.members.wishes import Wish
from storage.privacy import erasure_scopes
from storage.records import Pick, Picked, Place, Remark, ReplyId, RoundRecord, Who
from storage.store import Store
from tests.promises.test_p06_waiting import ALICE, BOB, IMPRESSION, MESSAGE
from tests.rig.key_places import DATABASE, FILES, processes
from tests.rig.waiting import until
from tests.unit.storage.given import START, settings_in

pytestmark = pytest.mark.promise("P41")

STRANGER = Who(1, 99)
ROUND = RoundRecord(START, START, 0, 0, 0, "cpu")
WAIT_S = 2.0
"""Longest wait for news of another process; also how long a control waits in vain."""


async def a_reply(store: Store, who: Who, reply_id: ReplyId) -> None:
    await store.replies.record(who, Place(5, (20,)), IMPRESSION, under=who.under)


async def a_pick(store: Store, who: Who, reply_id: ReplyId) -> None:
    pick = Pick(Picked.FIRST, "hash-4", bytes(16), bytes(16), None, (0, 1))
    await store.preferences.record_pick(who, pick)


async def a_rating(store: Store, who: Who, reply_id: ReplyId) -> None:
    await store.feedback.record_rating(who, reply_id, 5)


async def a_remark(store: Store, who: Who, reply_id: ReplyId) -> None:
    await store.remarks.record(who, reply_id, Remark(("wrong",), "no"))


async def a_wish(store: Store, who: Who, reply_id: ReplyId) -> None:
    await store.wishes.put(who, Wish(words="kindly"))


async def a_pause(store: Store, who: Who, reply_id: ReplyId) -> None:
    await store.pauses.pause(who)


async def an_undo(store: Store, who: Who, reply_id: ReplyId) -> None:
    await store.feedback.undo(who, reply_id)


CHANGES = [a_reply, a_pick, a_rating, a_remark, a_wish, a_pause, an_undo]


@pytest.fixture
async def stores(request, tmp_path, postgres):
    name = await postgres.fresh()
    settings = settings_in(tmp_path, url=postgres.url(name))
    async with (
        processes(getattr(request, "param", FILES), settings, lambda: postgres) as both,
        AsyncExitStack() as stack,
    ):
        yield [await stack.enter_async_context(await Store.open(one)) for one in both]
    await postgres.drop(name)


async def written_after_a_forget(stores: list[Store], change, *, bound: bool = True) -> None:
    """Write a change in the second process; its member forgot and agreed again in the first meanwhile."""
    first, second = stores
    await first.consent.record(ALICE)
    reply_id = await first.replies.record(ALICE, Place(5, (MESSAGE,)), IMPRESSION)
    await first.consent.record(BOB)
    who = await second.consent.bound(BOB)
    assert who is not None
    await first.privacy.forget(BOB.user_id)
    await first.consent.record(BOB)
    await change(second, who if bound else BOB, reply_id)


@pytest.mark.parametrize("change", CHANGES)
async def test_what_was_made_under_an_earlier_consent_is_refused(stores, change):
    with pytest.raises(NoConsent):
        await written_after_a_forget(stores, change)


@pytest.mark.parametrize("change", CHANGES)
async def test_control_without_the_key_it_is_stored(stores, change):
    await written_after_a_forget(stores, change, bound=False)


async def heard_in_the_other(stores: list[Store], leave) -> list[News]:
    """Return the news that the second process hears within :data:`WAIT_S` of this step in the first."""
    heard: list[News] = []
    stores[1].coordination.subscribe(heard.append)
    await leave(stores)
    try:
        await until(lambda: heard, at_most_s=WAIT_S)
    except TimeoutError:
        return []
    return heard


async def forgets(stores: list[Store]) -> None:
    await stores[0].privacy.forget(STRANGER.user_id)


async def refuses(stores: list[Store]) -> None:
    await stores[0].privacy.refuse(STRANGER)


async def loses_its_connection(stores: list[Store]) -> None:
    """The second process is cut off, and does not connect again in this test."""
    peers = stores[1].coordination._peers
    peers._first_wait_s = 60.0
    peers._driver.terminate()
    await asyncio.sleep(0)


@pytest.mark.parametrize("leave", [forgets, refuses, loses_its_connection])
async def test_memory_of_the_other_process_is_dropped_at_once(stores, leave):
    assert (await heard_in_the_other(stores, leave))[0] is News.LEFT


@pytest.mark.parametrize("leave", [forgets, refuses])
async def test_control_a_forget_that_is_not_announced_is_not_heard(stores, leave, monkeypatch):
    for name in ("forget_scope", "refusal_scope"):
        scope_of = getattr(erasure_scopes, name)

        def unannounced(*args, scope_of=scope_of):
            return scope_of(*args)._replace(announced=False)

        monkeypatch.setattr(erasure_scopes, name, unannounced)

    assert await heard_in_the_other(stores, leave) == []


async def test_control_a_loss_that_is_not_noticed_is_not_heard(stores):
    peers = stores[1].coordination._peers
    peers._driver.remove_termination_listener(peers._on_loss)

    assert await heard_in_the_other(stores, loses_its_connection) == []


@pytest.mark.parametrize("stores", [DATABASE], indirect=True)
async def test_on_two_hosts_without_shared_files_a_forget_is_in_force_within_a_second(stores):
    """Also during a round: what the second host learnt meanwhile is refused."""
    trainer, other = stores
    await other.consent.record(BOB)
    reply_id = await trainer.replies.record(BOB, Place(5, (MESSAGE,)), IMPRESSION)  # so it has the key
    during = trainer.learning.erasures
    heard: list[News] = []
    trainer.coordination.subscribe(heard.append)

    await other.privacy.forget(BOB.user_id)

    await until(lambda: heard, at_most_s=1.0)
    assert not trainer._keys._opened
    assert await trainer.learning.record_round(ROUND, [], erasures=during) is None
    with pytest.raises(NoConsent):
        await a_rating(trainer, BOB, reply_id)
