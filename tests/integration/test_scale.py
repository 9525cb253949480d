"""The simulation of ``make scale`` at a small size, and its verdict on made-up runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.rig.scale.journal import Asked, Dark
from tests.rig.scale.outcome import judge
from tests.rig.scale.simulation import Size, simulation
from tests.rig.size import sized

SMALL = Size(
    servers=40,
    members=400,
    agreed=6,
    processes=2,
    spares=0,
    shards=2,
    concurrency=2,
    a_second=2.0,
    seconds=16.0,
    kill_every_s=8.0,
    generation_s=0.2,
)
AT_MOST_S = float(sized(ci=240, full=60))
"""A shard is served again within a minute. In CI the machine may be busy."""
ANSWERED = Asked(
    number=1,
    message_id=11,
    channel_id=5,
    shard_id=0,
    sent_s=100.0,
    heard=True,
    replies=[(12, 101.0)],
    begun=[(7, 100.1)],
    ended=[(7, 100.6)],
)


@pytest.mark.slow
async def test_after_a_kill_no_prompt_is_lost_or_doubled_and_every_reaction_is_stored(postgres, tmp_path):
    async with simulation(SMALL, postgres, tmp_path) as here:
        outcome = await here.run()

    assert outcome.faults(takeover_s=AT_MOST_S) == []
    assert outcome.kills == 1 and outcome.prompts.calm > 10
    assert outcome.labels["given"] > 0 and outcome.rows["replies"] > 0
    assert outcome.sessions["begun"] == 3  # two at the start, one after the kill


def test_a_prompt_with_one_generation_and_one_reply_counts_with_its_overhead():
    found, good = judge([ANSWERED], [], 0)

    assert (found.calm, found.not_once, good) == (1, [], [ANSWERED])
    assert ANSWERED.overhead_s == pytest.approx(0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"replies": []},
        {"replies": [(12, 101.0), (13, 101.5)]},
        {"begun": [(7, 100.1), (8, 100.1)], "ended": [(7, 100.6), (8, 100.6)]},
        {"begun": [], "ended": []},
    ],
    ids=["no reply", "two replies", "two generations", "no generation"],
)
def test_control_another_number_of_generations_or_replies_is_found(changes):
    found, good = judge([replace(ANSWERED, **changes)], [], 0)

    assert (found.not_once, good) == ([1], [])


def test_a_prompt_that_a_kill_interrupted_may_be_answered_later_but_not_twice():
    kill = Dark(shard_id=0, since_s=100.5, until_s=110.0)
    late = replace(ANSWERED, replies=[(12, 112.0)], begun=[(7, 100.1), (8, 111.0)], ended=[(8, 111.5)])
    twice = replace(late, number=2, replies=[(12, 112.0), (13, 113.0)])
    elsewhere = replace(ANSWERED, number=3, shard_id=1)
    unheard = replace(ANSWERED, number=4, heard=False, replies=[])

    found, good = judge([late, twice, elsewhere, unheard], [kill], 0)

    assert (found.disturbed, found.made_up, found.again, found.doubled) == (3, 1, 2, 1)
    assert (found.left_out, found.calm, good) == (1, 1, [elsewhere])
