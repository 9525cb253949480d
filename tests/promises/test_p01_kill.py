"""P1: a kill -9 loses no acknowledged reaction and stores none twice.

A child process records reactions and acknowledges each through a pipe to this process. Meanwhile it stores
heads, expires old texts, truncates the write-ahead log and forgets a member, in a loop. It is killed at every
failpoint of the writer (before and after a commit, between two units of one transaction, around a checkpoint,
in the middle of a publication, at each step of a forget), at randomly drawn passings, and at random times.
After each kill the database passes ``integrity_check`` and holds every acknowledged reaction exactly once.
The next start completes an interrupted forget. (Kills inside a migration belong to P22.)

Control: a child that acknowledges before the commit loses reactions, and the same check finds it.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from storage.database import schema
from storage.records import Consent
from storage.replies.feedback import FeedbackState, slot
from storage.store import Store
from tests.rig.recorder import LEAVER, MEMBERS, settings_of, started, where
from tests.rig.size import FULL, sized

KILLS = sized(ci=1, full=40)
RARE = ("writer.before-checkpoint", "writer.after-checkpoint", "learning.heads-deleted")
OFTEN = ("writer.mid-batch", "writer.before-commit", "writer.after-commit")
FORGETTING = (
    "forget.after-ledger", "forget.after-mark", "forget.after-memory", "forget.after-keys",
    "forget.before-rows-commit", "forget.after-rows", "forget.after-checkpoint",
)  # fmt: skip
SETTING_UP = 60
"""Upper bound of how often the setup of the first run passes a failpoint of the writer."""

pytestmark = [pytest.mark.promise("P1"), pytest.mark.slow]


def killed(folder: Path, seed: int, moment: str, rng: random.Random, *, hasty: bool = False) -> list[int]:
    """Run the recorder until it is killed; return the reactions that it acknowledged.

    It is killed at the n-th passing of the failpoint ``moment``. Without one, it is killed shortly after a
    number of acknowledgements, which makes the test independent of the machine's speed.
    """
    passing = SETTING_UP + rng.randrange(100) if moment in OFTEN else rng.randrange(3, 6)
    process, pipe = started(folder, seed, f"{moment}=kill@{passing}" if moment else "", hasty)
    first = 1 if moment else rng.randrange(40, 400)
    timer = threading.Timer(60.0 if moment else rng.uniform(0, 0.02), process.kill)
    said: list[int] = []
    try:
        while True:
            said.append(int(pipe.recv_bytes()))
            if len(said) == first:
                timer.start()
    except (EOFError, OSError):  # the kill may cut the last number off
        pass
    process.join()
    timer.cancel()
    pipe.close()
    assert process.exitcode == -signal.SIGKILL
    return said[1:]


async def stored(folder: Path) -> Counter[tuple[bytes, int, int, str]]:
    """Count each reaction in the database: (member, reply, chunk, emoji)."""
    async with await Store.open(settings_of(folder)) as store:
        keys = store._keys

        def opened(connection):
            for row in connection.execute(select(schema.feedback)):
                place = slot(row.member_id, row.reply_id, row.changed_seq)
                state = FeedbackState.from_bytes(keys.key_of(row.member_id).open(row.state, place))
                yield from (
                    (row.member_id, row.reply_id, reaction.position, reaction.emoji)
                    for reaction in state.reactions
                )

        return await store._reader.run(lambda connection: Counter(opened(connection)))


async def expected(folder: Path, numbers: list[int]) -> Counter[tuple[bytes, int, int, str]]:
    """Return the reactions that the database must hold for these acknowledgements."""
    async with await Store.open(settings_of(folder)) as store:
        found: Counter[tuple[bytes, int, int, str]] = Counter()
        for number in numbers:
            who, message_id, emoji = where(number)
            reply_id = await store.replies.of_message(message_id)
            assert reply_id is not None
            found[(store.member_id(who), reply_id, message_id % 2, emoji)] += 1
        return found


def integrity(folder: Path) -> list[str]:
    raw = sqlite3.connect(folder / "data" / "data.db")
    verdict = [line for (line,) in raw.execute("PRAGMA integrity_check")]
    raw.close()
    return verdict


async def killed_and_compared(folder: Path, moment: str) -> int:
    """Kill repeatedly and compare after each kill; return the total number of acknowledged reactions."""
    rng = random.Random(f"2026 {moment}")
    acknowledged: list[int] = []
    for kill in range(1, KILLS + 1):
        acknowledged += killed(folder, kill, moment, rng)

        assert integrity(folder) == ["ok"]
        there = await stored(folder)
        wanted = await expected(folder, acknowledged)
        assert wanted - there == Counter(), f"lost after kill {kill}"
        assert set(there.values()) <= {1}, f"doubled after kill {kill}"
    return len(acknowledged)


@pytest.mark.parametrize("moment", ["", *OFTEN, *RARE])
async def test_killed_process_loses_no_acknowledged_reaction_and_doubles_none(tmp_path, moment):
    assert await killed_and_compared(tmp_path, moment) > KILLS * len(MEMBERS)


@pytest.mark.parametrize("moment", FORGETTING if FULL else ["forget.after-keys", "forget.before-rows-commit"])
async def test_a_kill_while_somebody_is_forgotten_touches_nobody_else(tmp_path, moment):
    assert await killed_and_compared(tmp_path, moment) > 0

    async with await Store.open(settings_of(tmp_path)) as store:
        assert await store.consent.of(LEAVER) is Consent.UNKNOWN, "opening the store must complete the forget"


async def test_control_acknowledging_before_the_commit_loses_reactions(tmp_path):
    acknowledged = killed(tmp_path, 1, "writer.before-commit", random.Random(1), hasty=True)

    lost = await expected(tmp_path, acknowledged) - await stored(tmp_path)

    assert lost.total() > 0
