"""Counts of a server: each member once, of this server, in this period."""

from __future__ import annotations

from datetime import timedelta

from storage.records import NewHead, Who
from storage.servers.activity import ServerActivity
from storage.store import Store
from tests.unit.storage.given import GUILD, posted, round_of


def member(number: int, guild: int = GUILD) -> Who:
    return Who(guild, 820_000_000_000_000_100 + number)


async def rate(store: Store, *numbers: int, guild: int = GUILD) -> None:
    """Let each of these members rate one reply."""
    for number in numbers:
        who = member(number, guild)
        reply_id = await posted(store, who, 1_040_000_000_000_000_000 + 1000 * (guild - GUILD) + number)
        await store.feedback.record_rating(who, reply_id, 5)


async def activity(store: Store, clock, guild: int = GUILD) -> ServerActivity:
    now = clock() + timedelta(seconds=1)
    return await store.activity.of_server(store.guild_id(Who(guild, 1)), now - timedelta(days=30), now)


async def test_each_member_counts_once_however_much_they_rated(store, clock):
    await rate(store, 1, 2)
    other = await posted(store, member(1), 1_040_000_000_000_000_900)
    await store.feedback.record_rating(member(1), other, 1)

    assert await activity(store, clock) == ServerActivity(n_learning=0, n_rating=2)


async def test_old_labels_and_other_servers_do_not_count(store, clock):
    await rate(store, 1, 2, 3)
    clock.advance(days=31)
    await rate(store, 4, 5, 6, guild=GUILD + 1)

    assert await activity(store, clock) == ServerActivity(n_learning=0, n_rating=0)


async def test_nothing_counts_that_happened_after_the_end_of_the_period(store, clock):
    guild, end = store.guild_id(member(1)), clock()
    await rate(store, 1, 2)

    assert await store.activity.of_server(guild, end - timedelta(days=30), end) == ServerActivity(0, 0)


async def test_members_with_a_head_count(store, clock):
    await rate(store, 1, 2, 3)
    await round_of(store, *[NewHead(store.member_id(member(number)), b"head", 1) for number in (1, 2)])

    assert await activity(store, clock) == ServerActivity(n_learning=2, n_rating=3)


async def test_a_member_who_left_does_not_count(store, clock):
    await rate(store, 1, 2, 3)
    await store.privacy.forget(member(1).user_id)

    assert await activity(store, clock) == ServerActivity(n_learning=0, n_rating=2)
