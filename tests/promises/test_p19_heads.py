"""P19: a half-trained head is never served.

A child process trains twice on a history and is killed during the second training and publication: before the
prior is stored, when heads are solved, in the middle of storing them, when they are stored and not yet
served, and at random times (in full size). The next start must serve every member the head of the first or of
the second training, bit by bit; a twin process that was not killed supplies both.

Then stored heads are damaged. The checksum of the seal or the check of the format rejects them, the prior
answers instead, and the log has one line about it, however many requests there are. A damaged prior is
dropped at the start.

Controls: a publication in two transactions leaves members with neither head; without the checksum a damaged
head is served.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from storage.keys.sealing import SealingKey
from storage.records import NewHead, Who
from tests.rig.counterfactual import (
    Outcome,
    left_in,
    made_keys,
    outcome_of,
)
from tests.rig.learner import PEOPLE, first_half, history, started
from tests.rig.size import sized

pytestmark = [pytest.mark.promise("P19"), pytest.mark.slow]

MOMENTS = {
    "rounds.prior-taught": 2,
    "rounds.solved": 2,
    "learning.heads-deleted": 2,
    "rounds.stored": 2,
}
"""Failpoint -> its passing in the second training."""
N_RANDOM = sized(ci=0, full=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="module")
def twins(folder) -> tuple[Outcome, Outcome]:
    """Outcomes of the first and of the second training, without kills."""
    keys = made_keys(folder / "keys")
    old = asyncio.run(outcome_of(first_half(), folder / "old", keys))
    new = asyncio.run(outcome_of(history(), folder / "new", keys))
    assert all(old.heads[who] != new.heads[who] for who in PEOPLE)
    return old, new


def killed(folder: Path, name: str, moment: str, **how) -> None:
    """Run the learner and kill it at a failpoint of the second training."""
    process = started(folder / name, folder / "keys", f"{moment}=kill@{MOMENTS[moment]}", **how)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def neither(left: Outcome, twins: tuple[Outcome, Outcome]) -> list[Who]:
    """Return the members who are served neither the old head nor the new one."""
    old, new = twins
    return [
        who
        for who in PEOPLE
        if left.heads.get(who) not in (old.heads[who], new.heads[who])
        or left.answers[who] not in (old.answers[who], new.answers[who])
    ]


def killed_at_random(folder: Path, name: str) -> None:
    """Kill the learner some seconds after its first write."""
    process = started(folder / name, folder / "keys", "rounds.solved=sleep:2")
    ready_by = time.monotonic() + 120
    while not (folder / name / "data" / "data.db-wal").exists() and time.monotonic() < ready_by:
        time.sleep(0.05)
    time.sleep(random.Random(name).uniform(1, 6))
    process.kill()
    process.join()


@pytest.mark.parametrize("moment", [*MOMENTS, *(f"random {number}" for number in range(N_RANDOM))])
async def test_after_a_kill_each_member_is_served_the_old_head_or_the_new_one(folder, twins, moment):
    if moment in MOMENTS:
        killed(folder, moment, moment)
    else:
        killed_at_random(folder, moment)

    left = await left_in(folder / moment, PEOPLE)

    assert set(left.heads) == set(PEOPLE) or (moment not in MOMENTS and not left.heads)
    assert not left.heads or neither(left, twins) == []
    if moment in MOMENTS:
        assert left.heads == (twins[1] if moment == "rounds.stored" else twins[0]).heads


async def test_control_a_publication_in_two_steps_leaves_members_without_a_head(folder, twins):
    killed(folder, "hasty", "learning.heads-deleted", hasty=True)

    left = await left_in(folder / "hasty", PEOPLE)

    assert neither(left, twins) == PEOPLE


def damage(path: Path, table: str) -> None:
    """Flip one bit in every body of a table."""
    raw = sqlite3.connect(path / "data" / "data.db")
    for row, body in raw.execute(f"SELECT rowid, body FROM {table}").fetchall():
        at = len(body) // 2
        flipped = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        raw.execute(f"UPDATE {table} SET body = ? WHERE rowid = ?", (flipped, row))
    raw.commit()
    raw.close()


def said(caplog, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


async def learnt(folder: Path, **more) -> Outcome:
    """Run the first half of the history, which leaves a prior and a head for each member."""
    return await outcome_of(first_half(), folder, made_keys(folder.parent / "own keys"), **more)


async def answers_of_the_prior(path: Path) -> dict[Who, str]:
    """Delete all heads and return the answers of the prior."""
    raw = sqlite3.connect(path / "data" / "data.db")
    raw.execute("DELETE FROM heads")
    raw.commit()
    raw.close()
    return (await left_in(path, PEOPLE)).answers


async def test_a_head_whose_checksum_does_not_hold_is_not_served_and_said_once(tmp_path, caplog):
    before = await learnt(tmp_path / "run")
    damage(tmp_path / "run", "heads")
    caplog.set_level(logging.WARNING)
    caplog.clear()

    left = await left_in(tmp_path / "run", PEOPLE[:1], asked=3)

    assert len(said(caplog, "A stored head is not used")) == 1
    prior = await answers_of_the_prior(tmp_path / "run")
    assert left.answers[PEOPLE[0]] == prior[PEOPLE[0]] != before.answers[PEOPLE[0]]


async def test_a_head_of_a_broken_format_is_not_served_and_said_once(tmp_path, caplog):
    async def garbage(house) -> None:
        store = house.store
        await store.learning.record_round(
            await store.learning.latest_round(), [NewHead(store.member_id(PEOPLE[0]), b"{", 1)]
        )

    await learnt(tmp_path / "run", then=garbage)
    caplog.set_level(logging.WARNING)
    caplog.clear()

    left = await left_in(tmp_path / "run", PEOPLE[:1], asked=3)

    assert len(said(caplog, "A stored head is not used")) == 1
    assert left.answers[PEOPLE[0]] == (await answers_of_the_prior(tmp_path / "run"))[PEOPLE[0]]


async def test_a_prior_whose_checksum_does_not_hold_is_dropped_and_heads_go_on(tmp_path):
    before = await learnt(tmp_path / "run")
    assert before.prior is not None
    damage(tmp_path / "run", "prior")

    left = await left_in(tmp_path / "run", PEOPLE)

    assert (left.heads, left.answers, left.prior) == (before.heads, before.answers, None)


async def test_control_without_the_checksum_a_damaged_head_is_served(tmp_path, monkeypatch):
    before = await learnt(tmp_path / "run")
    seen = SealingKey.open

    def unchecked(self, sealed, slot):
        body = seen(self, sealed, slot)
        if slot.table != "heads":
            return body
        at = len(body) - 8  # inside the numbers, after the header
        return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]

    monkeypatch.setattr(SealingKey, "open", unchecked)

    left = await left_in(tmp_path / "run", PEOPLE)

    assert all(left.heads[who] != before.heads[who] for who in PEOPLE)
