"""A child process that plays a history and trains on it; the test kills it on the way.

Processes are forked from a fork server that has imported everything once, which makes each start fast.
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
from tests.rig.counterfactual import outcome_of
from tests.rig.histories import Event, Learnt, random_history

PEOPLE = [Who(1, 100 + person) for person in range(8)]


def history() -> list[Event]:
    """Draw a history with one round in the middle; :func:`outcome_of` runs another at the end."""
    events = random_history(random.Random(19), PEOPLE, n_asked=20)
    assert sum(isinstance(event, Learnt) for event in events) == 1
    return events


def first_half() -> list[Event]:
    """Return the events before the first round."""
    events = history()
    return events[: next(at for at, event in enumerate(events) if isinstance(event, Learnt))]


def learn_hastily() -> None:
    """Control: store a round in two transactions instead of one."""
    record_round = LearningRecords.record_round

    async def in_two_steps(learning: LearningRecords, record, new_heads, *, erasures=None):
        member_ids = [head.member_id for head in new_heads]
        await learning._writer.submit(
            lambda c: c.execute(delete(heads).where(heads.c.member_id.in_(member_ids)))
        )
        return await record_round(learning, record, new_heads, erasures=erasures)

    LearningRecords.record_round = in_two_steps


def learn(folder: Path, keys: Path, failpoints: str, hasty: bool) -> None:
    """Main function of the child process."""
    if hasty:
        learn_hastily()
    switch_on(failpoints)
    asyncio.run(outcome_of(history(), folder, keys))


def started(folder: Path, keys: Path, failpoints: str, *, hasty: bool = False) -> BaseProcess:
    """Start a child process.

    Args:
        folder: Folder for its data.
        keys: As for :func:`outcome_of`.
        failpoints: Failpoints to switch on, in the format of the environment variable.
        hasty: Store a round in two transactions: the first deletes the old heads, the second adds the new
            ones.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=learn, args=(folder, keys, failpoints, hasty))
    process.start()
    return process
