"""``make bench-round``: times a whole round, from database to database, part by part.

It fills a store with members and feedback on the replies to them, in bulk instead of event by event. Then it
runs one round over all members and prints the time of each part. Parts run in several threads and a worker
process, so they may overlap and need not add up to the total. ``--pairs N`` runs rounds whose
parts overlap and rounds whose parts take turns, on one store, and prints the ratios. ``docs/benchmarks.md``
has the recorded results.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, insert

from personalization.heads.heads import Prior, starter_prior
from personalization.labels.labels import EmojiValence
from personalization.rounds import gathering
from personalization.rounds import trainer as rounds
from personalization.rounds.off_loop import OffLoop
from personalization.rounds.round_results import RoundReport
from personalization.rounds.trainer import Trainer
from personalization.rounds.worker import Worker
from personalization.settings import LearningSettings
from storage.database.change_numbers import next_number
from storage.database.schema import MemberStatus, members, replies
from storage.database.schema import feedback as feedback_table
from storage.keys.key_store import KeyStore
from storage.keys.sealing import new_key
from storage.keys.wrapping import member_keys, member_slot
from storage.learning import queries as learning
from storage.learning.learning_records import LearningRecords
from storage.learning.queries import SealedFeedback
from storage.records import MemberId, PriorRecord, ReplyId, Who
from storage.replies import feedback
from storage.replies.impressions import slot as reply_slot
from storage.settings import StorageSettings
from storage.store import Store
from tests.benchmarks.population import SPACE, Population

MEMBERS_AT_ONCE = 500
"""Members filled in one transaction."""


# --- filling a store -------------------------------------------------------------------------------------


async def fill(store: Store, population: Population, n_members: int, n_labels: int) -> None:
    """Store members with consent, a key, and ``n_labels`` replies with a thumb each."""
    for start in range(0, n_members, MEMBERS_AT_ONCE):
        users = range(start, min(n_members, start + MEMBERS_AT_ONCE))
        page = population.members(np.full(len(users), n_labels))
        await store._writer.submit(partial(_fill, keys=store._keys, users=users, X=page.X, y=page.y))


def _fill(connection: Connection, keys: KeyStore, users: Sequence[int], X: np.ndarray, y: np.ndarray) -> None:
    now, thumbs = datetime.now(UTC), [_thumb("👎"), _thumb("👍")]
    names = {keys.pseudonyms.member(Who(1, user)): user for user in users}
    made = [
        {"member_id": name, "wrapped": keys._wrapping.latest.seal(new_key(), member_slot(name))}
        for name in names
    ]
    with keys._part.engine.sync_engine.begin() as beside:
        beside.execute(insert(member_keys), made)
    n_labels = y.shape[1]
    number = next_number(connection, 2 * y.size) - 2 * y.size
    rows: dict[str, list[dict[str, Any]]] = {"members": [], "replies": [], "feedback": []}
    for (name, key), features, labels in zip(keys.keys_of(names).items(), X.astype("<f4"), y, strict=True):
        for i in range(n_labels):
            reply_id, seq = ReplyId(number + 1), number + 2
            number += 2
            parts = {"features": features[i].tobytes(), "decision": b"{}"}
            rows["replies"].append(
                {
                    "reply_id": reply_id,
                    "member_id": name,
                    "channel": keys.pseudonyms.channel(1),
                    "created_at": now,
                    "feature_id": SPACE.feature_id,
                    **{c: key.seal(body, reply_slot(c, reply_id, name)) for c, body in parts.items()},
                }
            )
            sealed = key.seal(thumbs[int(labels[i])], feedback.slot(name, reply_id, seq))
            given = {"member_id": name, "reply_id": reply_id, "changed_seq": seq, "changed_at": now}
            rows["feedback"].append({**given, "state": sealed})
        rows["members"].append(_member(keys, name, names[name], number, now))
    for table, values in zip((members, replies, feedback_table), rows.values(), strict=True):
        connection.execute(insert(table), values)


def _thumb(emoji: str) -> bytes:
    return feedback.FeedbackState(frozenset({feedback.Reaction(0, emoji, False)})).to_bytes()


def _member(keys: KeyStore, name: MemberId, user: int, seq: int, at: datetime) -> dict[str, Any]:
    return {
        "member_id": name,
        "person": keys.pseudonyms.person(user),
        "guild": keys.pseudonyms.guild(Who(1, user)),
        "standing": MemberStatus.AGREED,
        "decided_at": at,
        "changed_seq": seq,
    }


# --- where the time goes ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Spent:
    """Wall seconds of each part, and CPU seconds of parts that stay in one thread."""

    wall: dict[str, float] = field(default_factory=dict[str, float])
    cpu: dict[str, float] = field(default_factory=dict[str, float])

    def watched(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its time is added to a part."""

        def timed(*args: object, **kwargs: object) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.cpu[part] = self.cpu.get(part, 0.0) + time.thread_time() - cpu
                self.wall[part] = self.wall.get(part, 0.0) + time.perf_counter() - wall

        async def awaited(*args: object, **kwargs: object) -> Any:
            wall = time.perf_counter()
            try:
                return await function(*args, **kwargs)
            finally:
                self.wall[part] = self.wall.get(part, 0.0) + time.perf_counter() - wall

        return awaited if inspect.iscoroutinefunction(function) else timed

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Time every part of a round while the block runs."""
        parts: list[tuple[str, object, str]] = [
            ("count labels", learning, "feedback_counts"),
            ("read rows, labels counted", learning, "sealed_feedback"),
            ("find keys", KeyStore, "usable_keys_of"),
            ("open seals", SealedFeedback, "open"),
            ("rows to features", gathering, "decode_feedback"),
            ("feedback to labels", rounds, "read_labels"),
            ("solve, the way to the worker and back included", OffLoop, "on_examples"),
            ("heads to bytes", rounds, "new_heads"),
            ("seal and write heads", learning, "record_round"),
            ("... until it is on the disk", LearningRecords, "record_round"),
        ]
        before = [(home, name, getattr(home, name)) for _, home, name in parts]
        for part, home, name in parts:
            setattr(home, name, self.watched(part, getattr(home, name)))
        try:
            yield
        finally:
            for home, name, function in before:
                setattr(home, name, function)


class Listener:
    """Replacement of the ranker, which receives new heads and priors."""

    def __init__(self, prior: Prior) -> None:
        self.prior = prior

    async def use_prior(self, prior: Prior) -> None:
        """Replace the prior."""
        self.prior = prior

    async def publish(self, changed: Sequence[MemberId]) -> None:
        """Ignore new heads."""


async def one_by_one(items: AsyncGenerator[Any], most: int) -> AsyncGenerator[Any]:
    """Yield the items without reading ahead, as rounds did before :func:`gathering.ahead`."""
    async for item in items:
        yield item


@dataclass(frozen=True, slots=True)
class Cost:
    """What a round took: wall seconds, and processor seconds of the bot's process and of the worker."""

    wall: float
    own: float
    worker: float


@contextmanager
def one_after_another() -> Iterator[None]:
    """Let rounds read, solve and write in turn, and send features through a pipe, as they once did."""
    kept = rounds.ahead, Worker.place
    rounds.ahead, Worker.place = one_by_one, lambda *_: False  # type: ignore[method-assign]
    try:
        yield
    finally:
        rounds.ahead, Worker.place = kept  # type: ignore[method-assign]


async def compare(
    folder: Path, size: tuple[int, int], prior: Prior, population: Population, n_pairs: int
) -> list[tuple[Cost, Cost]]:
    """Return the costs of rounds over the same members, one after another and overlapping, in pairs."""
    settings = LearningSettings(device="cpu")
    stored = StorageSettings(data_dir=folder / "data", key_dir=folder / "keys")
    found: list[tuple[Cost, Cost]] = []
    async with await Store.open(stored) as store:
        await fill(store, population, *size)
        listener = Listener(starter_prior(SPACE, settings))
        trainer = Trainer(store.learning, listener, settings, SPACE, EmojiValence())  # type: ignore[arg-type]
        await trainer.warm_up()
        for turn in range(n_pairs + 1):  # the first pair warms up
            costs: dict[bool, Cost] = {}
            for overlaps in (False, True) if turn % 2 else (True, False):
                await store.learning.record_prior(PriorRecord(prior.to_bytes(), size[0], datetime.now(UTC)))
                with nullcontext() if overlaps else one_after_another():
                    costs[overlaps] = await cost_of(trainer, size[0])
            found.append((costs[False], costs[True]))
        await trainer.close()
    return found[1:]


async def cost_of(trainer: Trainer, n_members: int) -> Cost:
    """Run a round over this many members."""
    wall, own, worker = time.perf_counter(), time.process_time(), trainer.worker_cpu_s
    report = await trainer.run_round()
    assert report.n_members == n_members
    return Cost(time.perf_counter() - wall, time.process_time() - own, trainer.worker_cpu_s - worker)


def print_pairs(pairs: Sequence[tuple[Cost, Cost]], n_members: int) -> None:
    """Print the costs of a member in each pair, and the median ratios."""
    print("us a member: wall time, processor time of the bot's process, of the worker\n")
    print("| one after another | overlapping | ratio of wall times | of processor times |\n|---|---|---|---|")
    ratios: list[tuple[float, float]] = []
    for before, after in pairs:
        busy = (after.own + after.worker) / (before.own + before.worker)
        ratios.append((after.wall / before.wall, busy))
        shown = [
            ", ".join(f"{1e6 * part / n_members:,.0f}" for part in (cost.wall, cost.own, cost.worker))
            for cost in (before, after)
        ]
        print(f"| {shown[0]} | {shown[1]} | {ratios[-1][0]:.2f} | {busy:.2f} |")
    for name, found in zip(("wall", "processor"), zip(*ratios, strict=True), strict=True):
        print(f"median ratio of {name} times {np.median(found):.2f} ({min(found):.2f} to {max(found):.2f})")


async def measure(
    folder: Path,
    size: tuple[int, int],
    prior: Prior,
    population: Population,
    executor: Executor | None,
) -> tuple[RoundReport, Spent, float, float]:
    """Fill a store and run a round.

    Args:
        folder: Folder for the store.
        size: Number of members, and number of labels of each.
        prior: Prior to start from.
        population: Source of members.
        executor: Where the trainer works; None: a worker process.

    Returns:
        The round's report, the times of its parts, its wall seconds, and the CPU seconds of this process.
    """
    settings = LearningSettings(device="cpu")
    stored = StorageSettings(data_dir=folder / "data", key_dir=folder / "keys")
    async with await Store.open(stored) as store:
        await fill(store, population, *size)
        await store.learning.record_prior(PriorRecord(prior.to_bytes(), size[0], datetime.now(UTC)))
        listener = Listener(starter_prior(SPACE, settings))
        trainer = Trainer(store.learning, listener, settings, SPACE, EmojiValence(), executor)  # type: ignore[arg-type]
        await trainer.restore()
        await trainer.warm_up()
        spent = Spent()
        with spent.watch():
            wall, cpu = time.perf_counter(), time.process_time()
            report = await trainer.run_round()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        await trainer.close()
    return report, spent, wall, cpu


def main(argv: Sequence[str] | None = None, executor: Executor | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=20_000)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--teachers", type=int, default=150, help="other members, for the prior")
    parser.add_argument("--replies", type=int, default=20_000, help="distinct replies to draw from")
    parser.add_argument("--pairs", type=int, default=0, help="compare with rounds whose parts take turns")
    given = parser.parse_args(argv)
    population = Population(given.replies)
    prior = population.prior(given.teachers, 40)
    if given.pairs:
        with tempfile.TemporaryDirectory() as folder:
            size = (given.members, given.labels)
            print_pairs(asyncio.run(compare(Path(folder), size, prior, population, given.pairs)), size[0])
        return
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder), (given.members, given.labels), prior, population, executor)
        report, spent, wall, cpu = asyncio.run(measured)
    u, n = report.n_members, report.n_labels
    print(f"round of {u:,} members with {n:,} labels: {wall:.2f} s, {wall / u * 1e6:,.0f} us a member")
    print(f"processor time of the bot's own process: {cpu / u * 1e6:,.0f} us a member\n")
    print("| part | us a member | of the processor | us a label |\n|---|---|---|---|")
    for part, seconds in spent.wall.items():
        busy = f"{spent.cpu[part] / u * 1e6:,.0f}" if part in spent.cpu else ""
        print(f"| {part} | {seconds / u * 1e6:,.0f} | {busy} | {seconds / n * 1e6:,.1f} |")


if __name__ == "__main__":
    main()
