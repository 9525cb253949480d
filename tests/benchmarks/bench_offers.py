"""``python -m tests.benchmarks.bench_offers POOL``: what it brings that taste reaches the writer.

The members of ``make bench-taste`` react to replies of the real house: responder, store, ranker and trainer,
without Discord. Each arm is played twice, with offers to the writer and with selection alone, with the same
seeds. The *obedient* writer follows instructions and examples (``tests/benchmarks/obedient_writer.py``). The
*pool* has texts of the embedded model that ignore every instruction; only shapes hold.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bot.app.composition import open_house
from bot.config import Settings
from bot.generation import Context
from bot.replies.decision import Prompt
from personalization.encoding.encoder import Encoder
from personalization.encoding.loading import load_encoder
from storage.records import Place, Who
from tests.benchmarks.bench_taste import Likings, Member, NoOffers, PoolGenerator, texts_of
from tests.benchmarks.obedient_writer import ObedientWriter
from tests.benchmarks.taste_pool import Pool, digest, read_pool
from tests.benchmarks.taste_report import COIN, Examined, examined, summary
from tests.rig.encoded_once import EncodedOnce

COUNTS = (0, 10, 20)
IN_ONE = 5
"""The channel of every reply."""
WRITERS = {"obedient": ObedientWriter, "pool": PoolGenerator}


async def one_seed(
    pool: Pool, encoder: Encoder, seed: int, *, writer: str, offers: bool, n_asked: int
) -> dict[str, dict[int, Examined]]:
    """Let every member react to replies, and examine the house: member -> number of reactions -> result."""
    rng = np.random.default_rng(seed)
    messages = [list(pool)[i] for i in rng.permutation(len(pool))]
    taught, asked = messages[: max(COUNTS)], messages[-n_asked:]
    liked = Likings(texts_of(pool), encoder)
    members = [
        (
            Who(1, 100 + number),
            Member(name, None, partial(liked.of, name), np.random.default_rng([seed, number])),
        )
        for number, name in enumerate(liked.names)
    ]
    found: dict[str, dict[int, Examined]] = {name: {} for name in liked.names}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as executor:
        stored = replace(Settings().storage, data_dir=Path(folder, "data"), key_dir=Path(folder, "keys"))
        generator: Any = WRITERS[writer](pool, np.random.default_rng(seed))
        settings = replace(Settings(), storage=replace(stored, group_commit_ms=0))
        parts: Any = {"encoder": encoder, "generator": generator, "trainer_executor": executor}
        async with open_house(settings, seed=seed, **parts) as house:
            responder: Any = house.parts.responder
            if not offers:
                responder.offers = NoOffers()
            for who, _ in members:
                await house.store.consent.record(who)
            for n in range(max(COUNTS) + 1):
                if n in COUNTS:
                    for who, member in members:
                        decisions = [
                            await responder.decide(Prompt(who, Context(m), may_show=IN_ONE.__eq__))
                            for m in asked
                        ]
                        found[member.name][n] = examined(decisions, member.liking)
                if n < max(COUNTS):
                    for number, (who, member) in enumerate(members):
                        decision = await responder.decide(
                            Prompt(who, Context(taught[n]), may_show=IN_ONE.__eq__)
                        )
                        message_id = 1 + n * len(members) + number
                        await responder.recorder.record(who, Place(IN_ONE, (message_id,)), decision)
                        thumb = member.thumb(decision.text)
                        await house.store.feedback.record_reaction(who, message_id, thumb, added=True)
                    await house.trainer.run_round()
    return found


async def compared(pool: Pool, encoder: Encoder, n_seeds: int, n_asked: int) -> None:
    """Print lift, gain and wins of each arm, averaged over seeds."""
    for writer in WRITERS:
        for offers in (True, False):
            play = partial(one_seed, pool, encoder, writer=writer, offers=offers, n_asked=n_asked)
            found = summary([await play(seed) for seed in range(n_seeds)])
            everybody, coin = found["all tastes"], found["members"][COIN]
            figures = {
                name: [round(everybody[name][n], 2) for n in COUNTS] for name in ("lift", "gain", "wins")
            }
            tossed = [round(coin["gain"][n], 2) for n in COUNTS]
            print(writer, "with offers" if offers else "selection alone", figures, "coin", tossed, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--asked", type=int, default=15, help="messages that are examined")
    arguments = parser.parse_args()
    encoder = EncodedOnce(load_encoder("packaged", "cpu"))
    print(f"Pool {digest(arguments.pool)}; {arguments.seeds} seeds, {arguments.asked} messages examined")
    asyncio.run(compared(dict(read_pool(arguments.pool)), encoder, arguments.seeds, arguments.asked))


if __name__ == "__main__":
    main()
