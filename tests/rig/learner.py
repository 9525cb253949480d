"""A process that plays a history and learns from it, to be killed in the middle.

Processes are forked from a server that has imported everything once: a start takes no seconds.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from multiprocessing.process import BaseProcess
from pathlib import Path

from sqlalchemy import delete

from storage.database.schema import heads
from storage.failpoints import switch_on
from storage.learning.learning_records import LearningRecords
from storage.records import Who
from tests.rig.counterfactual import Event, Learnt, outcome_of, random_history

PEOPLE = [Who(1, 100 + person) for person in range(5)]


def history() -> list[Event]:
    """Learnt from once in the middle; :func:`outcome_of` learns once more at the end."""
    events = random_history(random.Random(19), PEOPLE, n_asked=20)
    assert sum(isinstance(event, Learnt) for event in events) == 1
    return events


def first_half() -> list[Event]:
    """Up to the first round."""
    events = history()
    return events[: next(at for at, event in enumerate(events) if isinstance(event, Learnt))]


def learn_hastily() -> None:
    """Switch off the one transaction."""
    record_round = LearningRecords.record_round

    async def in_two_steps(learning: LearningRecords, record, new_heads, *, erasures=None):
        member_ids = [head.member_id for head in new_heads]
        await learning._writer.submit(
            lambda c: c.execute(delete(heads).where(heads.c.member_id.in_(member_ids)))
        )
        return await record_round(learning, record, new_heads, erasures=erasures)

    LearningRecords.record_round = in_two_steps


def learn(folder: Path, keys: Path, failpoints: str, hasty: bool) -> None:
    """What the process does."""
    if hasty:
        learn_hastily()
    switch_on(failpoints)
    asyncio.run(outcome_of(history(), folder, keys))


def started(folder: Path, keys: Path, failpoints: str, *, hasty: bool = False) -> BaseProcess:
    """Start one.

    Args:
        folder: Where it works.
        keys: As for :func:`outcome_of`.
        failpoints: As the environment variable would have them.
        hasty: Store a round in two steps: first without the old heads, then with the new ones.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=learn, args=(folder, keys, failpoints, hasty))
    process.start()
    return process
