"""``make bench-trust``: measures the cost of the promises; prints a Markdown table.

It measures:

* durable reactions per second;
* sealing and opening a value;
* forgetting a member on a large database;
* how long the event loop is blocked while a round and forgets run together;
* the requests that reading back takes;
* the share of a core that rounds take under 1,000 reactions a minute (``--pace 60`` measures only this).

``docs/benchmarks.md`` has the recorded results.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bot.app.composition import House, open_house
from bot.background.scheduler import Work
from bot.config import parse_settings
from bot.reactions.inbox import BATCH, Inbox
from bot.reactions.readback import Readback, Shown
from bot.reactions.reconciler import Reconciler
from personalization.encoding.features import FeatureMap
from storage.keys.sealing import SealingKey, Slot
from storage.records import Impression, Place, Reacted, Who
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.lag import measured
from tests.rig.waiting import no_time

ENCODER = HashEncoder(384)
GUILD, CHANNEL = 1, 2
LABELS_EACH = 50
"""Labels of each member."""


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    """Open a house in a temporary folder, with its own worker process."""
    with tempfile.TemporaryDirectory() as folder:
        storage = {"data_dir": str(Path(folder, "data")), "key_dir": str(Path(folder, "keys"))}
        settings = parse_settings({"storage": storage, "personalization": {"device": "cpu"}})
        async with open_house(settings, encoder=ENCODER, generator=ScriptedGenerator(), seed=0) as opened:
            yield opened


async def post(house: House, n_replies: int) -> None:
    """Store replies to one asker, whom the measurements do not touch."""
    features = FeatureMap(ENCODER)
    kind = features.feature_id
    asker = Who(GUILD, 10)
    await house.store.consent.record(asker)
    for start in range(0, n_replies, BATCH):
        texts = [f"reply {number}" for number in range(start, min(n_replies, start + BATCH))]
        vectors = features.features(texts)
        impressions = (
            Impression((text,), ("plain",), 0, (0.0,), (0.0,), (1.0,), "greedy", 0, kind, vector.tobytes())
            for text, vector in zip(texts, vectors, strict=True)
        )
        await asyncio.gather(
            *(
                house.store.replies.record(asker, Place(CHANNEL, (1000 + start + at,)), impression)
                for at, impression in enumerate(impressions)
            )
        )


def reactions(n_labels: int, n_replies: int) -> Sequence[Reacted]:
    """Draw reactions: each member reacts once to :data:`LABELS_EACH` replies, one member after the other."""
    rng = np.random.default_rng(0)
    return [
        Reacted(
            CHANNEL, 1000 + (number * 7919) % n_replies, member(number // LABELS_EACH), emoji, False, True
        )
        for number, emoji in enumerate(rng.choice(("👍", "👎"), n_labels).tolist())
    ]


def member(number: int) -> Who:
    """Return a member whose id collides with no other id in this file."""
    return Who(GUILD, 100_000 + number)


async def fill(house: House, n_labels: int, n_replies: int) -> float:
    """Store labels through the inbox, like the running bot; return labels per second."""
    n_members = n_labels // LABELS_EACH
    for start in range(0, n_members, BATCH):
        await asyncio.gather(
            *(house.store.consent.record(member(n)) for n in range(start, min(n_members, start + BATCH)))
        )
    inbox = Inbox(house.store.feedback.record_events, lambda _: None, limit=n_labels)
    happened = reactions(n_labels, n_replies)
    started = time.perf_counter()
    for event in happened:
        inbox.put(event)
    await inbox.wait_idle()
    seconds = time.perf_counter() - started
    if inbox.n_recorded != n_labels or inbox.marks:
        raise RuntimeError(f"expected {n_labels} reactions stored, found {inbox.n_recorded}")
    return n_labels / seconds


def seal_and_open(n_values: int = 20_000) -> tuple[float, float]:
    """Return the microseconds for sealing and for opening a value of 60 bytes."""
    key, slot, value = (
        SealingKey(secrets.token_bytes(32)),
        Slot("feedback", "state", 1, b"m" * 16, 7),
        b"v" * 60,
    )
    started = time.perf_counter()
    sealed = [key.seal(value, slot) for _ in range(n_values)]
    between = time.perf_counter()
    for one in sealed:
        key.open(one, slot)
    return 1e6 * (between - started) / n_values, 1e6 * (time.perf_counter() - between) / n_values


async def forgets(house: House, n: int) -> list[float]:
    """Return the seconds of each of ``n`` forgets, including the truncation of the write-ahead log."""
    took: list[float] = []
    for number in range(n):
        started = time.perf_counter()
        receipt = await house.store.privacy.forget(member(number).user_id)
        took.append(time.perf_counter() - started)
        if receipt.n_feedback != LABELS_EACH:
            raise RuntimeError(f"expected {LABELS_EACH} labels forgotten, found {receipt.n_feedback}")
    return took


class Everything(Readback):
    """A Discord that shows exactly what is stored."""

    def __init__(self, n_replies: int) -> None:
        self._messages = [Shown(1000 + number) for number in range(n_replies)]

    async def page(self, channel_id: int, before: int) -> list[Shown]:
        """Return a page of up to 100 messages, newest first."""
        older = [one for one in self._messages if one.message_id < before]
        return older[:-101:-1]


async def requests_per_1000(house: House, n_replies: int) -> float:
    """Return the requests of a quick look, per 1,000 replies, after an outage in which nothing happened."""
    inbox = Inbox(house.store.feedback.record_events, lambda _: None)
    reconciler = Reconciler(Everything(n_replies), house.store.posted, inbox, sleep=no_time)
    reconciler._quick_due = True
    await reconciler._look_at_what_is_due()
    return 1000 * reconciler.n_requests / n_replies


@dataclass
class Early:
    """CPU seconds of the rounds that the scheduler ran, and how long a first label waited for each."""

    rounds: list[float] = field(default_factory=list[float])
    waits: list[float] = field(default_factory=list[float])
    first_label_at: float | None = None

    def changed(self, count: int) -> None:
        """Note the first label that waits."""
        if count and self.first_label_at is None:
            self.first_label_at = time.perf_counter()

    def timed(self, work: Work, cpu_s: Callable[[], float]) -> Work:
        """Return the work of a round, timed."""

        async def run() -> None:
            started, used, first = time.perf_counter(), cpu_s(), self.first_label_at
            self.first_label_at = None
            await work()
            if first is not None:
                self.waits.append(started - first)
                self.rounds.append(cpu_s() - used)

        return run


async def under_reactions(
    seconds: float, *, a_minute: int = 1000, n_members: int = 200
) -> list[tuple[str, str]]:
    """Let members react at an even pace, with the scheduler of the running bot."""
    async with house() as opened:
        n = int(seconds * a_minute / 60)
        await post(opened, 1000)
        for number in range(n_members):
            await opened.store.consent.record(member(number))
        await opened.trainer.warm_up()
        early, scheduler = Early(), opened.scheduler
        work, _ = scheduler._works["round"]
        scheduler._works["round"] = (early.timed(work, scheduler._cpu_s), 3600.0)

        def changed(count: int) -> None:
            early.changed(count)
            opened.parts.labels_changed(count)

        inbox = Inbox(opened.store.feedback.record_events, changed)
        scheduler.start()
        started, used = time.perf_counter(), time.process_time()
        for number in range(n):
            await asyncio.sleep(max(0.0, started + number * 60 / a_minute - time.perf_counter()))
            who = member(number % n_members)
            inbox.put(Reacted(CHANNEL, 1000 + (number * 7919) % 1000, who, "👍", False, True))
        took, used = time.perf_counter() - started, time.process_time() - used
        await inbox.wait_idle()
        await scheduler.stop()
    what = f"under {a_minute:,} reactions a minute of {n_members} members, {seconds:.0f} s"
    rounds, waits = np.array(early.rounds), np.array(early.waits)
    return [
        (f"rounds a minute {what}", f"{60 * len(rounds) / took:.0f}"),
        ("... of a core, all processes during rounds", f"{100 * rounds.sum() / took:.1f} %"),
        ("... of a core, the bot's own process", f"{100 * used / took:.1f} %"),
        (
            "... first waiting label to its round",
            f"p50 {np.median(waits):.2f} s, longest {waits.max():.2f} s",
        ),
    ]


async def run(n_labels: int, n_forgets: int) -> list[tuple[str, str]]:
    """Measure everything; return rows of (what, figure)."""
    n_replies = max(1000, n_labels // 100)
    rows: list[tuple[str, str]] = []
    sealing, opening = seal_and_open()
    rows.append(("seal, open one value", f"{sealing:.1f} µs, {opening:.1f} µs"))
    async with house() as opened:
        await post(opened, n_replies)
        rows.append(
            ("requests to read back 1,000 replies", f"{await requests_per_1000(opened, n_replies):.0f}")
        )
        rate = await fill(opened, n_labels, n_replies)
        rows.append((f"reactions stored, {n_labels:,} in one burst", f"{rate:,.0f} a second, none lost"))
        took = np.array(await forgets(opened, n_forgets))
        label = f"forget a member of {LABELS_EACH} labels among {n_labels:,}"
        rows.append((label, f"p50 {np.percentile(took, 50):.3f} s, p99 {np.percentile(took, 99):.3f} s"))
        await opened.trainer.warm_up()
        with measured() as lag:
            learning = asyncio.ensure_future(opened.trainer.run_round())
            while not learning.done():
                await opened.store.privacy.forget(member(n_forgets).user_id)
                n_forgets += 1
                await asyncio.sleep(0.2)
            opened.trainer.stop_soon()
            await asyncio.gather(learning, return_exceptions=True)
        rows.append(
            (
                "event loop while a round and forgets run together",
                f"late p99 {lag.late(99):.1f} ms; held p99 {lag.held(99):.1f} ms of CPU",
            )
        )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--forgets", type=int, default=100)
    parser.add_argument("--pace", type=float, default=0.0, help="seconds of 1,000 reactions a minute, alone")
    arguments = parser.parse_args(argv)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| what | figure |\n|---|---|")
    rows = [] if arguments.pace else asyncio.run(run(arguments.labels, arguments.forgets))
    for what, figure in [*rows, *asyncio.run(under_reactions(arguments.pace or 60.0))]:
        print(f"| {what} | {figure} |", flush=True)


if __name__ == "__main__":
    main()
