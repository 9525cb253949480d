"""``make bench-taste``: how soon a member notices that the bot has learnt what they like.

Simulated members of known tastes (``tests/benchmarks/tastes.py``) talk to the real bot in a simulated
Discord. They react to each reply with a thumb, and one reaction in ten is wrong; one member tosses a coin.
The candidates come from a pool of the embedded model's replies (``tests/benchmarks/taste_pool.py``). After
some numbers of reactions, the bot's answers to messages that the member never sent are examined without
posting them. The same is examined after six taps without any reaction (``tests/benchmarks/tapping.py``).

* **Lift**: (expected satisfaction with what would be posted - mean of the candidates) / (best - mean).
* **Gain**: that satisfaction against the one after no reaction, in standard deviations of the pool's
  replies. It also sees whether better candidates are written.
* **Wins**: how often a reply beats one of the same member after no reaction; ties count half.

``docs/benchmarks.md`` has the recorded results.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bot.config import Settings
from bot.generation import Candidate, Context, Style
from bot.replies.decision import Decision, Prompt
from bot.replies.offers import NO_OFFERS, Offers, plain_style_of
from bot.replies.shapes import shaped
from bot.settings import DEFAULT_STYLES
from personalization.encoding.encoder import Encoder
from personalization.encoding.loading import load_encoder
from storage.records import Who
from tests.benchmarks.taste_pool import Pool, digest, read_pool
from tests.benchmarks.taste_report import COIN, COUNTS, Examined, examined, show, summary
from tests.benchmarks.tastes import TASTES, Satisfaction
from tests.integration.conftest import World, opened
from tests.rig.encoded_once import EncodedOnce

FLIPPED = 0.1
"""Share of reactions that are the opposite of what the member likes."""


class PoolGenerator:
    """Writes what the pool holds for a message: in each style as many random texts as are asked for."""

    def __init__(self, pool: Pool, rng: np.random.Generator) -> None:
        self._pool = pool
        self._rng = rng
        self.name = "pool"

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        known = self._pool[context.message]
        names = {style.name: plain_style_of(style.name) for style in styles}
        order = {
            name: self._rng.permutation(len(known.get(name, ()))) for name in sorted(set(names.values()))
        }
        taken: Counter[str] = Counter()
        found: dict[str, Candidate] = {}
        for style in styles:
            plain = names[style.name]
            if taken[plain] < len(order[plain]):
                text = known[plain][order[plain][taken[plain]]].text
                found.setdefault(text, Candidate(text, style.name))
            taken[plain] += 1
        return list(found.values())

    async def continued(self, context: Context, style: Style, begun: str) -> AsyncIterator[str]:
        raise NotImplementedError("a reply of the pool is complete")
        yield begun

    def use_persona(self, persona: str) -> None:
        """Ignore the persona: the pool is written."""

    async def close(self) -> None:
        """Nothing is open."""


class NoOffers:
    """Offers nothing to the writer, so that selection alone is measured."""

    async def of(self, *_: object) -> Offers:
        return NO_OFFERS


def texts_of(pool: Pool) -> list[str]:
    """Return every text of the pool as the bot would post it."""
    found = {}
    for by_style in pool.values():
        for candidates in by_style.values():
            found |= {one.text: None for one in shaped(candidates, DEFAULT_STYLES)}
            found |= {one.text: None for each in candidates for one in shaped([each], DEFAULT_STYLES)}
    return list(found)


class Likings:
    """Satisfaction of every member with any text; the coin tosser's is random. Each text is judged once."""

    def __init__(self, texts: Sequence[str], encoder: Encoder) -> None:
        self._judge = Satisfaction(texts, encoder)
        self._known: dict[str, dict[str, float]] = {}
        self.names = (*(taste.name for taste in TASTES), COIN)
        self._add(texts)

    def of(self, name: str, text: str) -> float:
        """Return a member's satisfaction with a text; the output filter may have changed it."""
        if text not in self._known:
            self._add([text])
        return self._known[text][name]

    def _add(self, texts: Sequence[str]) -> None:
        columns = self._judge.of(texts)
        for i, text in enumerate(texts):
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
            chance = float(np.random.default_rng(seed).standard_normal())
            self._known[text] = {name: float(column[i]) for name, column in columns.items()} | {COIN: chance}


@dataclass
class Member:
    """A simulated member, and the chances of their thumbs."""

    name: str
    actor: Any
    liking: Callable[[str], float]
    rng: np.random.Generator

    def thumb(self, text: str) -> str:
        """Return the reaction to a reply."""
        chance = self.rng.random()
        if self.name == COIN:
            return "👍" if chance < 0.5 else "👎"
        likes = self.liking(text) > 0
        return "👍" if likes != (chance < FLIPPED) else "👎"


@asynccontextmanager
async def world_of(settings: Settings, pool: Pool, encoder: Encoder, seed: int) -> AsyncIterator[World]:
    """Open the real bot with the pool, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        stored = replace(settings.storage, data_dir=Path(folder, "data"), key_dir=Path(folder, "keys"))
        # Earlier messages of other members would make replies of the pool look like echoes of each other.
        alone = replace(settings.bot, history_messages=0, seeded_reactions=())
        settings = replace(settings, storage=stored, bot=alone)
        generator: Any = PoolGenerator(pool, np.random.default_rng(seed))
        async with opened(settings, encoder=encoder, generator=generator, seed=seed) as world:
            yield world


async def decided(world: World, member: Member, messages: Sequence[str]) -> list[Decision]:
    """Return what the bot would post to a member; nothing is posted and nothing is stored."""
    who, responder = Who(world.guild.id, member.actor.id), world.house.parts.responder
    may_show = world.channel.id.__eq__
    return [await responder.decide(Prompt(who, Context(one), may_show=may_show)) for one in messages]


async def one_seed(
    settings: Settings, pool: Pool, encoder: Encoder, seed: int, *, progress: bool = True
) -> dict[str, dict[int, Examined]]:
    """Let every member react to replies, and examine the bot: member -> number of reactions -> result."""
    rng = np.random.default_rng(seed)
    messages = [list(pool)[i] for i in rng.permutation(len(pool))]
    n_taught = min(max(COUNTS), 2 * len(messages) // 3)
    taught, asked = messages[:n_taught], messages[n_taught:]
    liked = Likings(texts_of(pool), encoder)
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
        for member in members:
            await world.agree(member.actor)
        for n in tqdm(range(n_taught + 1), desc=f"seed {seed}", disable=not progress):
            if n in COUNTS:
                for member in members:
                    decisions = await decided(world, member, asked)
                    found[member.name][n] = examined(decisions, member.liking)
            if n < n_taught:
                for member in members:
                    reply = await world.ask(member.actor, taught[n])
                    await member.actor.react(reply, member.thumb(reply.content))
                await world.house.trainer.run_round()
    return found


async def measured(
    pool: Pool, n_seeds: int, settings: Settings, one: Callable[..., Awaitable[Any]] = one_seed
) -> dict[str, Any]:
    """Run all seeds, with an encoder that computes each text once."""
    encoder = EncodedOnce(load_encoder("packaged", "cpu"))
    return summary([await one(settings, pool, encoder, seed) for seed in range(n_seeds)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=200, help="take this many messages of the pool")
    parser.add_argument("--policy", default=Settings().personalization.policy)
    parser.add_argument("--thompson-scale", type=float, default=Settings().personalization.thompson_scale)
    parser.add_argument("--taps", action="store_true", help="only the six taps, which need no reactions")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    pool = dict(list(read_pool(arguments.pool).items())[: arguments.messages])
    settings = Settings()
    learning = replace(
        settings.personalization, policy=arguments.policy, thompson_scale=arguments.thompson_scale
    )
    settings = replace(settings, personalization=learning)
    n_texts = sum(len(texts) for by_style in pool.values() for texts in by_style.values())
    print(f"Pool {digest(arguments.pool)}: {len(pool)} messages, {n_texts} texts; {arguments.seeds} seeds")
    from tests.benchmarks.tapping import tapped  # it imports this module

    by_taps = asyncio.run(measured(pool, arguments.seeds, settings, tapped))
    show(by_taps, "taps")
    found = {} if arguments.taps else asyncio.run(measured(pool, arguments.seeds, settings))
    if found:
        show(found)
    found |= {"taps": by_taps}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
