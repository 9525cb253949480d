"""Six taps of simulated members, for ``make bench-taste``: what they teach without any reaction.

A member answers a pair by their satisfaction with its two texts. One pick in ten is the opposite of what the
member likes. Of pairs whose texts the member likes about equally, they call 70 % "no matter", and pick a side
of the others at random. The coin tosser gives each answer with the same probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from tqdm import tqdm

from bot.config import Settings
from bot.replies.six_taps.texts import Pair
from personalization.encoding.encoder import Encoder
from storage.records import Picked, Who
from tests.benchmarks.bench_taste import FLIPPED, Likings, Member, decided, texts_of, world_of
from tests.benchmarks.taste_pool import Pool
from tests.benchmarks.taste_report import COIN, Examined, examined
from tests.integration.conftest import World

TAP_COUNTS = (0, 5, 6, 8)
"""Numbers of taps after which the bot is examined; it offers six in a row."""
NO_MATTER = 0.7
"""Share of pairs that do not count for a member, which they call so."""
COUNTS_FROM = 0.5
"""Difference of satisfaction from which a pair counts for a member, standard deviations."""


def answer_of(member: Member, pair: Pair) -> Picked:
    """Return a member's answer to a pair."""
    chance = member.rng.random()
    if member.name == COIN:
        return (Picked.FIRST, Picked.SECOND, Picked.EQUAL)[int(chance * 3)]
    more = member.liking(pair.more) - member.liking(pair.less)
    if abs(more) >= COUNTS_FROM:
        return Picked.SECOND if (more > 0) != (chance < FLIPPED) else Picked.FIRST
    if chance < NO_MATTER:
        return Picked.EQUAL
    return Picked.SECOND if member.rng.random() < 0.5 else Picked.FIRST


async def tap(world: World, member: Member, shown: list[str], since: int) -> None:
    """Let a member answer the next pair."""
    taps = world.bot.six_taps
    who = await world.house.store.consent.bound(Who(world.guild.id, member.actor.id))
    assert who is not None
    pair = await taps.next_pair(who, "en", shown)
    assert pair is not None
    shown.append(pair.name)
    assert await taps.record(who, "en", pair, answer_of(member, pair), since=since)


async def tapped(
    settings: Settings, pool: Pool, encoder: Encoder, seed: int, *, progress: bool = True
) -> Mapping[str, Mapping[int, Examined]]:
    """Let every member tap, and examine the bot: member -> number of taps -> result."""
    asked, liked = list(pool), Likings(texts_of(pool), encoder)
    found: dict[str, dict[int, Examined]] = {name: {} for name in liked.names}
    async with world_of(settings, pool, encoder, seed) as world:
        members = [
            Member(
                name,
                world.guild.add_member(world.env.create_user(name.replace(" ", "-"))),
                partial(liked.of, name),
                np.random.default_rng([seed, number]),
            )
            for number, name in enumerate(liked.names)
        ]
        shown: dict[str, list[str]] = {member.name: [] for member in members}
        for member in members:
            await world.agree(member.actor)
        for n in tqdm(range(max(TAP_COUNTS) + 1), desc=f"taps, seed {seed}", disable=not progress):
            if n in TAP_COUNTS:
                await world.house.trainer.run_round()
                for member in members:
                    found[member.name][n] = examined(await decided(world, member, asked), member.liking)
            if n < max(TAP_COUNTS):
                for member in members:
                    await tap(world, member, shown[member.name], since=0)
    return found
