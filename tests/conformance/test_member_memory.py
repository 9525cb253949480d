"""Forgetting reaches everything in memory that holds data of a member, whichever object keeps it.

The first tests walk the registry (:mod:`bot.memory`), the others the graph of objects of a running bot: an
object that holds a member after a forget is found although it was never registered.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import ExitStack

import pytest

from bot.generation import Context
from bot.memory import MemberMemory
from bot.messages.bursts import Burst
from bot.messages.queues import Claims
from bot.moderation.report_queue import Reason
from bot.replies.decision import Prompt
from bot.replies.fair_turns import FairTurns
from bot.replies.style_wishes import with_words
from storage.members.wishes import NO_WISH
from storage.records import Consent, MemberId, Observed, Place, Reacted, Who
from tests.integration.conftest import settings, world
from tests.rig.held import Member, globals_of_ours, held

__all__ = ["settings", "world"]

ELSEWHERE = 77
HELD_CHANNEL = 78
OF_NOBODY = {
    "embedded questions",
    "settings of servers",
    "acts under way",
    "prompts read by the model",
}
"""Registered because members had a part in them, or servers; they name no member that is not acting now."""
CLEARED = {"drafts", "style means"}
"""Dropped for everyone when a member leaves: drafts in an order that the member had a part in, and the recent
candidates of the early stop, which the style means hold."""
IN_PROGRESS = {"waiting questions", "waiting reactions", "turns"}
"""Stay when news do not say who left."""


async def uses_everything(world, member) -> None:
    """Let a member leave an entry in every cache: here they agreed, elsewhere they did not decide."""
    bot, store, caches = world.bot, world.house.store, dict(world.bot.memory)
    here, there = Who(world.guild.id, member.id), Who(ELSEWHERE, member.id)
    await world.agree(member)
    reply = await world.ask(member)
    await member.react(reply, "👍")
    await world.house.trainer.run_round()
    reply = await world.ask(member)
    await member.slash(world.channel, "compare")
    await bot.reports.take(here, world.channel.id, reply.id, Reason.RUDE)
    decision = await bot.responder.decide(Prompt(there, Context("hello")))
    await bot.responder.recorder.record(there, Place(5, (reply.id + 1,)), decision)
    await bot.responder.wishes.put(there, with_words(NO_WISH, "briefly"), Consent.UNKNOWN)
    bot.invited.claim(store.member_id(there))
    bot.unanswered.begin(there)
    for name in ("notes on declined messages", "notes on unread attachments", "help given"):
        caches[name].claim(here, "once")
    bot.queues.submit("a talk", member.id, asyncio.Event().wait)
    caches["deleted questions"].put(Burst(latest_of(world, member)))
    bot.inbox.put(Reacted(HELD_CHANNEL, 1, here, "👍", False, True))
    bot.inbox.put(Observed(HELD_CHANNEL, 2, world.guild.id, {("👍", False): frozenset({member.id})}))
    await waits_for_a_turn(caches["turns"], member.id)


def latest_of(world, member):
    """Return the latest message of a member."""
    return next(one for one in reversed(world.channel.history()) if one.author.id == member.id)


async def waits_for_a_turn(turns: FairTurns, owner: int) -> None:
    async with turns.turn("one"), turns.turn("another"):
        waiting = asyncio.create_task(_take(turns, owner))
        await asyncio.sleep(0)
    await waiting


async def _take(turns: FairTurns, owner: int) -> None:
    async with turns.turn(owner):
        pass


@pytest.fixture
async def used(world):
    """Alice and Ben used everything; a question that runs keeps the others waiting."""
    with ExitStack() as stack:
        stack.enter_context(world.bot.inbox.held(HELD_CHANNEL))
        end = asyncio.Event()
        world.bot.queues.submit("a talk", 0, end.wait)
        for member in (world.alice, world.ben):
            await uses_everything(world, member)
        gc.collect()  # discord.py's interactions are in reference cycles
        yield world
        end.set()
        world.bot.queues.drop(world.alice.id)
        world.bot.queues.drop(world.ben.id)


def known_as(world, member) -> Member:
    return Member(world.house.store, member.id, (world.guild.id, ELSEWHERE))


def holding(world, member) -> set[str]:
    """Names of the registered caches that hold the member themselves, not by way of another part."""
    store, caches = world.house.store, [cache for _, cache in world.bot.memory]
    retained = [one.holder for one in world.bot.memory.retained.values()]
    parts = [world.bot, store, store._keys, store.coordination, world.bot.memory, *caches, *retained]
    found = {}
    for name, cache in world.bot.memory:
        beside = [part for part in parts if part is not cache]
        found[name] = held([cache], known_as(world, member), beside=beside)
    return {name for name, ways in found.items() if ways}


def all_held(world, member) -> list[str]:
    retained = [one.holder for one in world.bot.memory.retained.values()]
    roots = [world.bot, world.house, *globals_of_ours()]
    return held(roots, known_as(world, member), beside=retained)


async def test_after_a_forget_no_registered_cache_holds_the_member_and_others_stay(used):
    everything = {name for name, _ in used.bot.memory} - OF_NOBODY
    before = holding(used, used.alice), holding(used, used.ben)

    await used.bot.privacy.forget(used.alice.id)

    assert before == (everything, everything)
    assert holding(used, used.alice) == set()
    assert holding(used, used.ben) == everything - CLEARED


async def test_after_a_forget_nothing_in_the_bots_memory_names_the_member(used):
    before = all_held(used, used.alice)

    await used.bot.privacy.forget(used.alice.id)

    assert before
    assert all_held(used, used.alice) == []
    assert all_held(used, used.ben)


async def test_what_outlives_a_forget_holds_pseudonyms_and_no_discord_id(used):
    alice, retained = known_as(used, used.alice), used.bot.memory.retained

    await used.bot.privacy.forget(used.alice.id)

    keeping = {name: held([one.holder], alice, beside=[used.house.store]) for name, one in retained.items()}
    assert all(keeping.values()), keeping
    assert all(one.why for one in retained.values())
    by_id = {name: held([one.holder], alice, by_id=True) for name, one in retained.items()}
    assert by_id == {name: [] for name in retained}


async def test_an_object_that_is_not_registered_is_found(used):
    used.bot.unregistered = Claims()
    used.bot.unregistered.claim(("seen", Who(used.guild.id, used.alice.id)))

    await used.bot.privacy.forget(used.alice.id)

    (way,) = all_held(used, used.alice)
    assert "SimpaticoBot > dict > Claims" in way


async def test_a_no_in_one_server_leaves_what_is_held_of_other_servers(used):
    await used.bot.privacy.refuse(Who(used.guild.id, used.alice.id))

    assert holding(used, used.alice) == {
        "replies",
        "wishes",
        "languages",
        "unanswered invitations",
        *IN_PROGRESS,
    }


async def test_servers_that_were_left_go_by_the_pseudonyms_of_their_members(used):
    member_id = used.house.store.member_id(Who(used.guild.id, used.alice.id))

    used.bot.memory.forget_servers([member_id])

    assert holding(used, used.alice) == {
        "replies",
        "wishes",
        "languages",
        "unanswered invitations",
        *IN_PROGRESS,
    }
    assert holding(used, used.ben) == {name for name, _ in used.bot.memory} - OF_NOBODY - CLEARED


async def test_news_without_names_drop_every_cache_and_no_question_that_waits(used):
    used.bot.memory.forget_everyone()

    left = holding(used, used.alice) | holding(used, used.ben)
    assert left == IN_PROGRESS - {"turns"}
    assert len(used.bot.queues) == 2


async def test_a_turn_that_is_waited_for_is_kept_without_a_name():
    turns, memory = FairTurns(1), MemberMemory(lambda who: MemberId(b"%d" % who.user_id))
    memory.register("turns", turns)
    async with turns.turn("another"):
        waiting = asyncio.create_task(_take(turns, 12345))
        await asyncio.sleep(0)
        memory.forget_person(12345, [])
        named = [owner for owner in turns._rank if owner == 12345]
    await waiting

    assert (named, 12345 in turns._rank, len(turns)) == ([], False, 0)
