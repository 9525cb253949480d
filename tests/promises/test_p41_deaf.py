"""P41: a process that hears nothing of the others ranks by no forgotten head, and soon notices.

Two bots share one PostgreSQL database; the second reaches it through a relay that closes its listening
connection, freezes it, or swallows its notifications. A member forgets or withdraws in the first bot and
agrees again; a manager changes the settings of a server there. The second bot compares the counter of
erasures before it uses a head, so its next answer knows. Settings are at most two heartbeats old.

Controls: the counter is not compared; no heartbeat is awaited; caches are kept while the bot reconnects.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from bot.app.composition import House, open_house
from storage.database import postgres_peers
from storage.database.peers import News
from storage.errors import LearningPaused, NoConsent
from storage.records import Impression, Place, ReplyId, Who
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.relay import Line, Relay, relayed
from tests.rig.waiting import until

pytestmark = pytest.mark.promise("P41")

ALICE = Who(7, 1)
TEXTS = ("Sure.", "Yes, gladly!", "Let me think about it...", "No?")
BEAT_S = 0.5
GRACE_S = 2.0
"""What a busy machine may add to the bound."""


@pytest.fixture
async def bots(settings, postgres, tmp_path, monkeypatch):
    """The trainer, and a second bot whose connections go through a relay."""
    monkeypatch.setattr(postgres_peers, "BEAT_S", BEAT_S)
    monkeypatch.setattr(postgres_peers, "FIRST_WAIT_S", 0.05)
    name = await postgres.fresh()
    async with AsyncExitStack() as stack:
        relay, through = await stack.enter_async_context(relayed(postgres.url(name), tmp_path))
        executor = stack.enter_context(ThreadPoolExecutor(1))
        houses = []
        for url in (postgres.url(name), through):
            storage = replace(settings.storage, url=url)
            house = open_house(
                replace(settings, storage=storage),
                seed=0,
                encoder=HashEncoder(),
                generator=ScriptedGenerator(),
                trainer_executor=executor,
            )
            houses.append(await stack.enter_async_context(house))
        yield *houses, relay
        relay.line = Line.OPEN
    await postgres.drop(name)


async def version(house: House) -> int:
    """Return the round behind the head by which Alice would be answered now; 0 means the prior."""
    return (await house.ranker.rank(house.store.member_id(ALICE), "hello", TEXTS)).head_version


async def post(house: House, message_id: int, who: Who = ALICE) -> ReplyId:
    """Record a reply and a reaction to it, as the bot does."""
    ranking = await house.ranker.rank(house.store.member_id(ALICE), "hello", TEXTS)
    impression = Impression(
        TEXTS,
        ("a", "b", "c", "d"),
        ranking.chosen,
        ranking.scores,
        ranking.prior_scores,
        ranking.propensities,
        ranking.policy,
        ranking.head_version,
        ranking.feature_id,
        ranking.features[ranking.chosen].tobytes(),
    )
    reply_id = await house.store.replies.record(who, Place(3, (message_id,)), impression, under=who.under)
    await house.store.feedback.record_reaction(who, message_id, "👍", added=True)
    return reply_id


async def learnt(first: House, second: House, message_id: int) -> None:
    """Alice has a head, and the second bot has it in memory."""
    heard: list[News] = []
    second.store.coordination.subscribe(heard.append)
    await first.store.consent.record(ALICE)
    await post(first, message_id)
    await first.trainer.run_round()
    await until(lambda: News.HEADS in heard)
    assert await version(second) == 1


# --- how the second bot becomes deaf -----------------------------------------------------------------


async def swallows(second: House, relay: Relay) -> None:
    relay.line = Line.SWALLOWS


async def frozen(second: House, relay: Relay) -> None:
    relay.line = Line.FROZEN


async def listens_no_more(second: House, relay: Relay) -> None:
    """As when a pooler resets the session: the connection is good, but no longer subscribed."""
    await second.store.coordination._peers._driver.execute("UNLISTEN *")


async def closed(second: House, relay: Relay) -> None:
    relay.line = Line.CLOSED
    await until(lambda: second.store.coordination._peers._driver is None)


async def reconnects(second: House, relay: Relay) -> None:
    """The line is back before the second bot has noticed."""
    relay.line = Line.CLOSED
    await asyncio.sleep(0)
    relay.line = Line.OPEN


WAYS = [swallows, frozen, listens_no_more, closed, reconnects]


async def leaves_and_returns(first: House, *, withdraws: bool) -> None:
    if withdraws:
        await first.store.privacy.refuse(ALICE, lambda _: None)
    else:
        await first.store.privacy.forget(ALICE.user_id, lambda _: None)
    await first.store.consent.record(ALICE)


@pytest.mark.parametrize("deaf", WAYS)
async def test_a_deaf_bot_never_ranks_by_a_forgotten_head_nor_stores_for_a_member_who_left(bots, deaf):
    first, second, relay = bots
    await learnt(first, second, 100)
    bound = await second.store.consent.bound(ALICE)
    await deaf(second, relay)
    before = await version(second)  # filled again while deaf

    await leaves_and_returns(first, withdraws=False)
    after = await version(second)

    assert (before, after) == (1, 0)
    with pytest.raises(NoConsent):
        await post(second, 101, bound)
    reply_id = await post(second, 102)
    await first.store.pauses.pause(ALICE)
    with pytest.raises(LearningPaused):
        await second.store.feedback.record_rating(ALICE, reply_id, 5)
    await first.store.pauses.resume(ALICE)

    await first.trainer.run_round()
    second.ranker.drop_all()  # it may not have heard of the round
    before = await version(second)
    await leaves_and_returns(first, withdraws=True)

    assert (before, await version(second)) == (2, 0)


async def test_a_forget_during_an_answer_of_a_deaf_bot_is_known_when_it_is_ranked(bots):
    first, second, relay = bots
    await learnt(first, second, 100)
    relay.line = Line.SWALLOWS
    head = await second.ranker.head_of(second.store.member_id(ALICE))  # styles are dealt by it

    await leaves_and_returns(first, withdraws=False)

    assert head.prior_id
    assert await version(second) == 0


async def test_control_without_the_comparison_a_deaf_bot_ranks_by_the_forgotten_head(bots):
    first, second, relay = bots
    second.ranker._catch_up = nothing
    second.store.coordination._peers._hears = believes
    await learnt(first, second, 100)
    relay.line = Line.SWALLOWS

    await leaves_and_returns(first, withdraws=False)

    assert await version(second) == 1


async def nothing() -> None:
    pass


async def believes() -> bool:
    """Stand for a process that expects no heartbeat."""
    return True


# --- settings: bounded in time -----------------------------------------------------------------------


async def stale_for(first: House, second: House, at_most_s: float) -> float:
    """Return for how long the second bot keeps the settings from before a change in the first, seconds.

    Raises:
        TimeoutError: It keeps them for longer than ``at_most_s``.
    """
    await second.parts.servers.of(7)
    persona = f"persona {time.monotonic()}"
    await first.parts.servers.change(7, lambda before: replace(before, persona=persona))
    started = time.monotonic()
    async with asyncio.timeout(at_most_s):
        while (await second.parts.servers.of(7)).persona != persona:
            await asyncio.sleep(0.01)
    return time.monotonic() - started


@pytest.mark.parametrize("deaf", WAYS)
async def test_settings_of_a_deaf_bot_are_at_most_two_heartbeats_old(bots, deaf, caplog):
    first, second, relay = bots
    await deaf(second, relay)

    with caplog.at_level(logging.WARNING):
        found = [await stale_for(first, second, 2 * BEAT_S + GRACE_S) for _ in range(2)]

    assert max(found) < 2 * BEAT_S + GRACE_S
    said = [
        r.getMessage() for r in caplog.records if "notifications of other processes are missed" in r.message
    ]
    assert len(said) == second.store.coordination.n_losses == 1


async def test_control_without_a_heartbeat_the_settings_stay_old(bots):
    first, second, relay = bots
    second.store.coordination._peers._hears = believes
    relay.line = Line.SWALLOWS

    with pytest.raises(TimeoutError):
        await stale_for(first, second, 2 * BEAT_S + GRACE_S)


async def test_control_caches_that_are_kept_while_reconnecting_stay_old(bots, monkeypatch):
    first, second, relay = bots
    peers = second.store.coordination._peers
    hear = peers._on_news
    monkeypatch.setattr(peers, "_on_news", lambda news: None if news is News.DEAF else hear(news))
    await closed(second, relay)

    with pytest.raises(TimeoutError):
        await stale_for(first, second, 2 * BEAT_S + GRACE_S)


async def test_a_bot_that_hears_again_trains_and_keeps_its_memory(bots):
    first, second, relay = bots
    await learnt(first, second, 100)
    await frozen(second, relay)
    await until(lambda: second.store.coordination.n_losses)
    relay.line = Line.OPEN
    peers = second.store.coordination._peers
    await until(lambda: peers._driver is not None)
    await version(second)
    await first.store.close()
    async with asyncio.timeout(60):
        while not await second.store.coordination.lead():
            await asyncio.sleep(0.01)

    await asyncio.sleep(3 * BEAT_S)

    assert (second.ranker.n_kept, second.store.coordination.n_losses) == (1, 1)
