"""``make bench``: measures the cost of a ranking, a round, a reaction and a start; prints a Markdown table.

Ratios compare with a peer in the same run, because absolute times on shared machines mean little.
``docs/benchmarks.md`` has the recorded results.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bot.app.composition import House, open_house
from bot.config import Settings
from personalization.encoding.encoder import Encoder
from personalization.encoding.loading import load_encoder
from storage.records import Impression, Place, Who
from tests.benchmarks.starting import HERE, compared, rows_of
from tests.fakes import ScriptedGenerator

CANDIDATES = (
    "Sure, try a short walk first and see how it feels.",
    "I would start with the basics: a good pair of shoes, a plan for three days a week, and patience. After a"
    " month the same round takes less out of you, and that is the moment to add a little more.",
    "Running? In this weather? You are braver than my last three mugs of cocoa put together! 😄",
    "That sounds like a lovely plan. What made you want to start, and would somebody come along?",
)
MESSAGE = "I want to start running this spring, how do I begin without hurting myself?"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    figure: str
    note: str = ""


@asynccontextmanager
async def house(encoder: Encoder, generator: object | None = None) -> AsyncIterator[House]:
    """Open a house in a temporary folder, which is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings()
        settings = replace(
            settings,
            storage=replace(settings.storage, data_dir=Path(folder, "data"), key_dir=Path(folder, "keys")),
        )
        async with open_house(settings, encoder=encoder, generator=generator, seed=0) as opened:  # type: ignore[arg-type]
            yield opened


async def bench_rank(encoder: Encoder, times: int) -> list[Row]:
    """Time the ranking of four candidates and a bare forward pass of the same five texts, alternating."""
    async with house(encoder, ScriptedGenerator()) as opened:
        ranked, bare = [], []
        for lap in range(times + 3):
            start = time.perf_counter()
            await opened.ranker.rank(None, MESSAGE, CANDIDATES)
            middle = time.perf_counter()
            encoder.encode(CANDIDATES)
            encoder.encode([MESSAGE])
            if lap >= 3:  # the first three laps warm up
                ranked.append(middle - start)
                bare.append(time.perf_counter() - middle)
    ratio = statistics.median(a / b for a, b in zip(ranked, bare, strict=True))
    return [
        Row(
            "rank 4 candidates",
            f"{statistics.median(ranked) * 1e3:.1f} ms",
            "encode, style features, head, policy",
        ),
        Row(
            "... against the bare encoder forward pass",
            f"{ratio:.2f} x",
            "bar: at most 1.3, median of paired ratios",
        ),
    ]


async def bench_store(encoder: Encoder, n_reactions: int) -> list[Row]:
    """Store reactions with full durability, first in one burst, then one by one."""
    async with house(encoder, ScriptedGenerator()) as opened:
        members = [Who(1, 1000 + i) for i in range(50)]
        await _fill(opened, members, n_replies=20)

        async def react(i: int, *, added: bool) -> None:
            member = i % 50
            await opened.store.feedback.record_reaction(
                members[member], _message_id(member, i // 50 % 20), "👍", added=added
            )

        start = time.perf_counter()
        await asyncio.gather(*(react(i, added=i // 1000 % 2 == 0) for i in range(n_reactions)))
        burst = n_reactions / (time.perf_counter() - start)
        start = time.perf_counter()
        for i in range(200):
            await react(i, added=i % 2 == 0)
        single = 200 / (time.perf_counter() - start)
    return [
        Row("reactions stored in a burst", f"{burst:,.0f} /s", "synchronous=FULL, sealed, group commit"),
        Row("reactions stored one after the other", f"{single:,.0f} /s", "each waits for its own commit"),
    ]


async def bench_round(encoder: Encoder, n_members: int) -> list[Row]:
    """Measure the duration of a round and the event-loop lag during it."""
    async with house(encoder, ScriptedGenerator()) as opened:
        members = [Who(1, 1000 + i) for i in range(n_members)]
        await _fill(opened, members, n_replies=20)
        for i, who in enumerate(members):
            await asyncio.gather(
                *(
                    opened.store.feedback.record_reaction(
                        who, _message_id(i, n), "👍" if n % 2 else "👎", added=True
                    )
                    for n in range(20)
                )
            )
        await opened.trainer.warm_up()
        done = asyncio.Event()
        watching = asyncio.create_task(_lag(done))
        report = await opened.trainer.run_round()
        done.set()
        lags = await watching
    return [
        Row(
            f"round of {report.n_members:,} members, {report.n_labels:,} labels",
            f"{report.seconds:.2f} s",
            f"database to database, {report.device}",
        ),
        Row(
            "event-loop lag during that round, p99",
            f"{np.percentile(lags, 99) * 1e3:.1f} ms",
            "bar: under 20 ms",
        ),
    ]


def bench_start(messages: int = 10) -> list[Row]:
    """Start the playground three times in processes of their own; take the medians."""
    (found,) = compared([HERE], times=3, messages=messages)
    return [Row(*row) for row in rows_of(found, messages)]


async def _lag(done: asyncio.Event, interval_s: float = 0.002) -> list[float]:
    """Measure repeatedly, until ``done``, how late a timer fires, in seconds."""
    lags = []
    while not done.is_set():
        start = time.perf_counter()
        await asyncio.sleep(interval_s)
        lags.append(max(0.0, time.perf_counter() - start - interval_s))
    return lags


def _message_id(member: int, reply: int) -> int:
    return 1_000_000 + member * 1000 + reply


async def _fill(opened: House, members: Sequence[Who], *, n_replies: int) -> None:
    """Give every member consent and replies, without reactions."""
    rng = np.random.default_rng(0)
    ranking = await opened.ranker.rank(None, MESSAGE, CANDIDATES)
    for i, who in enumerate(members):
        await opened.store.consent.record(who)
        features = rng.standard_normal((n_replies, ranking.features.shape[1])).astype("<f4")
        await asyncio.gather(
            *(
                opened.store.replies.record(
                    who,
                    Place(1, (_message_id(i, reply),)),
                    Impression(
                        candidates=CANDIDATES,
                        styles=("a", "b", "c", "d"),
                        chosen=0,
                        scores=(0.0,) * 4,
                        prior_scores=(0.0,) * 4,
                        propensities=(0.25,) * 4,
                        policy="bench",
                        head_version=0,
                        feature_id=ranking.feature_id,
                        features=features[reply].tobytes(),
                    ),
                )
                for reply in range(n_replies)
            )
        )


def print_rows(rows: Sequence[Row]) -> None:
    """Print the machine and the table."""
    python = platform.python_version()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {python}, torch {torch.__version__}\n")
    print("| what | figure | note |\n|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.figure} | {row.note} |")


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=1000, help="members in the round")
    parser.add_argument("--reactions", type=int, default=10_000, help="reactions in the burst")
    arguments = parser.parse_args()
    encoder = load_encoder("packaged", "cpu")
    rows = [
        *await bench_rank(encoder, 40),
        *await bench_store(encoder, arguments.reactions),
        *await bench_round(encoder, arguments.members),
        *bench_start(),
    ]
    print_rows(rows)


if __name__ == "__main__":
    asyncio.run(main())
