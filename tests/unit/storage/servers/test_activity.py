"""Counts of a server: only with enough members, of this server, in this period."""

from __future__ import annotations

from datetime import timedelta

from storage.records import NewHead, Who
from storage.servers.activity import RoundActivity, ServerActivity
from storage.store import Store
from tests.unit.storage.given import GUILD, posted, round_of

FEW = 3


def member(number: int, guild: int = GUILD) -> Who:
    return Who(guild, 820_000_000_000_000_100 + number)


async def rate(store: Store, *numbers: int, guild: int = GUILD) -> None:
    """Let each of these members rate one reply."""
    for number in numbers:
        who = member(number, guild)
        reply_id = await posted(store, who, 1_040_000_000_000_000_000 + 1000 * (guild - GUILD) + number)
        await store.feedback.record_rating(who, reply_id, 5)


async def activity(store: Store, clock, guild: int = GUILD) -> ServerActivity:
    since = clock() - timedelta(days=30)
    return await store.activity.of_server(store.guild_id(Who(guild, 1)), since, FEW)


async def test_days_with_too_few_members_are_withheld_and_counted(store, clock):
    await rate(store, 1, 2, 3)
    first = clock().date()
    clock.advance(days=1)
    await rate(store, 4, 5)

    assert await activity(store, clock) == ServerActivity(None, [(first, 3)], n_days_withheld=1)


async def test_old_labels_and_other_servers_do_not_count(store, clock):
    await rate(store, 1, 2, 3)
    clock.advance(days=31)
    await rate(store, 4, 5, 6, guild=GUILD + 1)

    assert await activity(store, clock) == ServerActivity(None, [], n_days_withheld=0)


async def test_members_count_once_there_are_enough_heads(store, clock):
    await rate(store, 1, 2, 3)
    heads = [NewHead(store.member_id(member(number)), b"head", 1) for number in (1, 2, 3)]

    await round_of(store, *heads[:2])
    few = await activity(store, clock)
    await round_of(store, *heads)

    assert (few.n_learning, (await activity(store, clock)).n_learning) == (None, 3)


async def test_a_member_who_left_does_not_count(store, clock):
    await rate(store, 1, 2, 3)
    await store.privacy.forget(member(1).user_id)

    assert await activity(store, clock) == ServerActivity(None, [], n_days_withheld=1)


async def test_rounds_are_counted_with_their_mean_time(store, clock):
    nothing = await store.activity.of_rounds(clock() - timedelta(days=30))
    await rate(store, 1)
    await round_of(store)

    some = await store.activity.of_rounds(clock() - timedelta(days=30))

    assert nothing == RoundActivity(0, 0.0)
    assert some.n_rounds == 1
