"""P5: forgetting is exact.

A history of members who ask, react, rate, take back, compare and ask for other answers runs through the real
responder, store, ranker and trainer; in it u starts exchanges that others like, and likes those of others.
Once u forgets at the end, once u was never there. After the next prior and round every other head, every
answer of the ranker, the prior and every counter are equal by SHA-256. Running numbers are not compared: they
only grow, so a gap says that something was there, not what or whose. Pseudonyms are the same in both runs,
because the keys are.

So whoever attacks what is left has the same bytes before them as if the member had never been there.

Control: without the forget the outcomes differ.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from storage.records import Who
from tests.rig.counterfactual import (
    Asked,
    AskedAgain,
    Event,
    Forgot,
    Reacted,
    made_keys,
    outcome_of,
    random_history,
    with_choices,
    without,
)
from tests.rig.size import sized

pytestmark = [pytest.mark.promise("P5"), pytest.mark.slow]

PEOPLE = [Who(guild, 100 * guild + person) for guild in (1, 2) for person in range(5)]
U = PEOPLE[2]


def of_others(history: Sequence[Event], who: Who) -> tuple[int, int]:
    """How often others reacted to replies to this member, and the member to replies to others."""
    askers = {event.message_id: event.who for event in history if isinstance(event, (Asked, AskedAgain))}
    reacted = [event for event in history if isinstance(event, Reacted)]
    received = sum(askers[event.message_id] == who != event.who for event in reacted)
    return received, sum(askers[event.message_id] != who == event.who for event in reacted)


@pytest.mark.parametrize("seed", range(1, 1 + sized(ci=1, full=50)))
async def test_after_a_forget_everything_is_as_if_the_member_had_never_been_there(tmp_path, seed):
    history = random_history(random.Random(seed), PEOPLE, n_asked=sized(ci=30, full=200))
    history = with_choices(history, random.Random(seed))
    keys = made_keys(tmp_path / "keys")
    assert all(count >= 1 for count in of_others(history, U))
    end = history[-1].at + 1

    forgot = await outcome_of([*history, Forgot(at=end, who=U)], tmp_path / "forgot", keys)
    never = await outcome_of(without(history, U), tmp_path / "never", keys)

    assert forgot == never
    assert len(never.heads) == len(PEOPLE) - 1 and never.prior is not None
    assert never.counters["preferences"] > 5


async def test_control_without_the_forget_heads_and_prior_differ(tmp_path):
    history = random_history(random.Random(1), PEOPLE, n_asked=30)
    keys = made_keys(tmp_path / "keys")

    there = await outcome_of(history, tmp_path / "there", keys)
    never = await outcome_of(without(history, U), tmp_path / "never", keys)

    assert there.prior != never.prior
    assert all(there.heads[who] != never.heads[who] for who in never.heads)
    assert there.counters != never.counters
