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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
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
from bot.replies.shapes import shaped
from bot.settings import DEFAULT_STYLES
from personalization.arrays import DoubleArray
from personalization.encoding.encoder import Encoder
from personalization.encoding.loading import load_encoder
from storage.records import Who
from tests.benchmarks.taste_pool import Pool, digest, read_pool
from tests.benchmarks.tastes import TASTES, Satisfaction
from tests.integration.conftest import World, opened
from tests.rig.encoded_once import EncodedOnce

COUNTS = (0, 3, 5, 10, 20, 40)
"""Numbers of reactions after which the bot is examined."""
FLIPPED = 0.1
"""Share of reactions that are the opposite of what the member likes."""
NOTICED = 0.7
"""Share of wins from which a member notices."""
COIN = "coin tosser"


class PoolGenerator:
    """Writes what the pool holds for a message: in each style as many random texts as are asked for."""

    def __init__(self, pool: Pool, rng: np.random.Generator) -> None:
        self._pool = pool
        self._rng = rng
        self.name = "pool"

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        known = self._pool[context.message]
        counts = Counter(style.name for style in styles)
        order = {name: self._rng.permutation(len(known.get(name, ()))) for name in sorted(counts)}
        found = [known[name][i] for name, taken in order.items() for i in taken[: counts[name]]]
        return list({one.text: one for one in found}.values())

    async def continued(self, context: Context, style: Style, begun: str) -> AsyncIterator[str]:
        raise NotImplementedError("a reply of the pool is complete")
        yield begun

    def use_persona(self, persona: str) -> None:
        """Ignore the persona: the pool is written."""

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, eq=False, slots=True)
class Examined:
    """What the bot would post to one member, for each message that is examined.

    Attributes:
        lift: Numerator and denominator of the lift, ``messages x 2``.
        values: Satisfaction with each candidate of each message.
        chances: Propensity of each candidate.
    """

    lift: DoubleArray
    values: tuple[DoubleArray, ...]
    chances: tuple[DoubleArray, ...]

    def expected(self) -> DoubleArray:
        """Return the expected satisfaction with each message's reply."""
        return np.array([v @ p for v, p in zip(self.values, self.chances, strict=True)])

    def wins_over(self, other: Examined) -> float:
        """Return how often a reply beats the other's reply to the same message; ties count half."""
        won = [
            p @ ((v[:, None] > w[None]) + 0.5 * (v[:, None] == w[None])) @ q
            for v, p, w, q in zip(self.values, self.chances, other.values, other.chances, strict=True)
        ]
        return float(np.mean(won))


def examined(decisions: Sequence[Decision], liking: Callable[[str], float]) -> Examined:
    """Judge what the bot would post by a member's satisfaction with each text."""
    values, chances, lift = [], [], []
    for decision in decisions:
        impression = decision.impression
        value = np.array([liking(text) for text in impression.candidates])
        chance = np.array(impression.propensities)
        values.append(value)
        chances.append(chance)
        lift.append((value @ chance - value.mean(), value.max() - value.mean()))
    return Examined(np.array(lift), tuple(values), tuple(chances))


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
    return [await responder.decide(Prompt(who, Context(message))) for message in messages]


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


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean over seeds; 0 for one seed."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0


def lift_of(results: Sequence[Examined]) -> float:
    """Return the lift over all messages of these results; 0 where no candidate is better than another."""
    above, best = np.concatenate([one.lift for one in results]).sum(axis=0)
    return float(above / best) if best > 1e-9 else 0.0


def summary(seeds: Sequence[Mapping[str, Mapping[int, Examined]]]) -> dict[str, Any]:
    """Return lift, gain and wins of each member, averaged over seeds: member -> figure -> number."""
    counts = list(seeds[0][COIN])
    rows: dict[str, Any] = {}
    for name in seeds[0]:
        lift, gain, wins = {}, {}, {}
        for n in counts:
            ours = [seed[name][n] for seed in seeds]
            lift[n] = lift_of(ours)
            before = [seed[name][0] for seed in seeds]
            pairs = list(zip(ours, before, strict=True))
            gain[n] = float(np.mean([(a.expected() - b.expected()).mean() for a, b in pairs]))
            wins[n] = float(np.mean([a.wins_over(b) for a, b in pairs]))
        noticed = next((n for n in counts if wins[n] >= NOTICED), None)
        rows[name] = {"lift": lift, "gain": gain, "wins": wins, "noticed": noticed}
    named = [rows[taste.name] for taste in TASTES]
    everybody = {
        figure: {n: float(np.mean([row[figure][n] for row in named])) for n in counts}
        for figure in ("lift", "gain", "wins")
    }
    by_seed = {
        n: [float(np.mean([lift_of([seed[t.name][n]]) for t in TASTES])) for seed in seeds] for n in counts
    }
    everybody["lift_se"] = {n: standard_error(values) for n, values in by_seed.items()}
    noticed = next((n for n in counts if everybody["wins"][n] >= NOTICED), None)
    return {"members": rows, "all tastes": everybody | {"noticed": noticed}}


def show(found: Mapping[str, Any], what: str = "reactions") -> None:
    """Print the report as Markdown tables, by the number of reactions or taps."""
    everybody, rows = found["all tastes"], found["members"]
    counts = list(everybody["lift"])
    kinds = {taste.name: taste.kind for taste in TASTES}
    for figure in ("lift", "gain"):
        print(f"\n| {figure} after {what} | kind |" + "".join(f" {n} |" for n in counts))
        print("|---|---|" + "---|" * len(counts))
        for name, row in rows.items():
            print(
                f"| {name} | {kinds.get(name, 'none')} |"
                + "".join(f" {row[figure][n]:+.2f} |" for n in counts)
            )
        print("| **all tastes** | |" + "".join(f" **{everybody[figure][n]:+.2f}** |" for n in counts))
        style = [row[figure] for name, row in rows.items() if kinds.get(name, "topic") != "topic"]
        print("| tastes of style | |" + "".join(f" {np.mean([r[n] for r in style]):+.2f} |" for n in counts))
    print("\n| wins over a first reply |" + "".join(f" {n} |" for n in counts))
    print("|---|" + "---|" * len(counts))
    print("| all tastes |" + "".join(f" {everybody['wins'][n]:.2f} |" for n in counts))
    noticed = everybody["noticed"]
    print(
        f"\nA member notices after {noticed} {what}."
        if noticed is not None
        else f"\nA member does not notice within {max(counts)} {what}."
    )


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
