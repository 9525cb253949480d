"""P5: forgetting is exact: for everybody else it is as if the member had never been there.

A history of members who ask, react, rate, take back, compare and request other answers runs through the real
responder, store, ranker and trainer. In it, member u starts exchanges that others like, and likes those of
others. In one run u forgets at the end; in the other u never existed. After the next prior and round, every
other head, every answer of the ranker, the prior and every counter are equal by SHA-256. Sequence numbers are
not compared: they only grow, so a gap shows that something was stored, not what or whose. Pseudonyms are the
same in both runs, because the keys are.

So an attacker on the remaining data sees the same bytes as if the member had never been there. The test also
tries an attack: members join, teach prior and heads, start exchanges that others react to, and forget. An
attacker who has their replies and clicks, and all remaining data, guesses no better than chance who was
there.

Controls: without the erasure the outcomes differ; if an erasure leaves the prior, or a head, the same
attacker detects who was there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from personalization.encoding.features import FeatureMap
from storage.privacy import erasing as rights
from storage.records import Who
from storage.store import Store
from tests.fakes import FixedClock, HashEncoder
from tests.rig.adopting import adopt_everything
from tests.rig.counterfactual import made_keys, outcome_of
from tests.rig.histories import (
    Asked,
    AskedAgain,
    Event,
    Forgot,
    Reacted,
    random_history,
    with_choices,
    without,
)
from tests.rig.membership import Left, attacked, auc, betrayal, drawn, head_of, joins, learn
from tests.rig.size import sized
from tests.unit.personalization.bench import Bench
from tests.unit.storage.given import settings_in

pytestmark = [pytest.mark.promise("P5"), pytest.mark.slow]

PEOPLE = [Who(guild, 100 * guild + person) for guild in (1, 2) for person in range(5)]
U = PEOPLE[2]


def of_others(history: Sequence[Event], who: Who) -> tuple[int, int]:
    """Count others' reactions to replies to this member, and the member's reactions to replies to others."""
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


# --- a membership attack on what is left -------------------------------------------------------------------

CROWD = [Who(3, 1000 + person) for person in range(5)]
GONE = Who(3, 1999)
VISITORS = [Who(3, 2000 + person) for person in range(sized(ci=6, full=100))]
N_REPLIES = 20
SOURCES = ("prior", "heads", "counts")


@pytest.fixture
async def bench(tmp_path, monkeypatch):
    """A crowd that has taught a prior and heads. One earlier erasure has set the counter."""
    adopt_everything(monkeypatch)
    clock = FixedClock()
    with ThreadPoolExecutor(1) as executor:
        async with await Store.open(settings_in(tmp_path, group_commit_ms=0), now=clock) as store:
            bench = Bench(store, FeatureMap(HashEncoder(16)), executor, clock)
            rng = np.random.default_rng(1)
            for who in CROWD:
                await joins(bench, drawn(rng, bench, who, N_REPLIES))
            await store.consent.record(GONE)
            await store.privacy.forget(GONE.user_id)
            await learn(bench)
            yield bench
            await bench.trainer.close()
            bench.ranker.close()


async def visits(bench: Bench, *, then) -> tuple[list[Left], list[Left], list[float]]:
    """Attack each visitor before they were ever there, and after they came, taught and left.

    Args:
        bench: With the crowd.
        then: What the bot learns after an erasure.

    Returns:
        The attacker's results for visitors who were there and for the same before they came, and for the
            heads that they
        had in between.
    """
    there, never, own = [], [], []
    rng = np.random.default_rng(2)
    for who in VISITORS:
        clicks = drawn(rng, bench, who, N_REPLIES)
        never.append(await attacked(bench, clicks, CROWD))
        await joins(bench, clicks, fellows=CROWD[:2])
        await learn(bench)
        body = await bench.head(who)
        assert body is not None
        own.append(betrayal(head_of(bench, body), bench.features.features(clicks.texts), clicks.liked))
        bench.ranker.drop((await bench.store.privacy.forget(who.user_id)).member_ids)
        await then(bench)
        there.append(await attacked(bench, clicks, CROWD))
    return there, never, own


async def test_a_membership_attack_on_what_is_left_guesses(bench):
    there, never, _ = await visits(bench, then=learn)

    for source in SOURCES:
        found = auc([getattr(left, source) for left in there], [getattr(left, source) for left in never])
        assert abs(found - 0.5) <= 0.05, source


async def test_control_a_prior_or_a_head_that_is_kept_tells_who_was_there(bench, monkeypatch):
    for safeguard in ("drop_prior", "count_erasure"):  # the row is deleted; its remains cannot be opened
        monkeypatch.setattr(rights, safeguard, lambda _connection: None)

    async def only_a_round(bench: Bench) -> None:
        await bench.trainer.run_round()

    there, never, own = await visits(bench, then=only_a_round)

    assert auc([left.prior for left in there], [left.prior for left in never]) > 0.75
    assert auc(own, [left.heads for left in never]) > 0.95
