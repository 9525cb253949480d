"""P2: no word that a member wrote reaches a trained weight.

A history of members who wish, ask, react, rate, compare, tap and request other answers runs twice through the
real responder, store, ranker and trainer: once unchanged, once with every word of a member replaced. Replies
and reactions are the same. Every head, every answer of the ranker and the prior must be identical to the last
bit, and so must the stored data of every choice between two replies. (A member's words also decide which
candidate fits best; one candidate per prompt excludes that effect.)

Control: features that include the message, as in a ranker of message-reply pairs; the heads then differ.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from personalization.encoding.features import Encoded, FeatureMap
from storage.database import change_numbers
from storage.records import Who
from tests.rig.counterfactual import made_keys, outcome_of
from tests.rig.histories import Wished, random_history, reworded, with_choices
from tests.rig.size import sized

pytestmark = pytest.mark.promise("P2")

PEOPLE = [Who(guild, 100 + person) for guild in (1, 2) for person in range(8)]


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """Number replies and choices 1, 2, 3, ... instead of by the time, so that two runs can be compared."""
    monkeypatch.setattr(change_numbers, "microseconds", lambda: 0)


async def both(folder, seed: int):
    """Run a history and the same with other words; return the outcomes and the stored choices."""
    history = random_history(random.Random(seed), PEOPLE, n_asked=sized(ci=45, full=300))
    wishes = [Wished(at=500, who=who, said="like a pirate") for who in PEOPLE]
    history = sorted([*history, *wishes], key=lambda event: event.at)
    history = with_choices(history, random.Random(seed))
    choices = []

    async def read(house) -> None:
        of = house.store.preferences.of
        choices.append(await of([house.store.member_id(who) for who in PEOPLE], 1000))

    keys = made_keys(folder / "keys")
    outcomes = [
        await outcome_of(told, folder / name, keys, then=read)
        for name, told in (("said", history), ("reworded", reworded(history, random.Random(-seed))))
    ]
    assert len(outcomes[0].heads) == len(PEOPLE)
    assert outcomes[0].prior is not None
    assert sum(map(len, choices[0].values())) > 5
    return outcomes, choices


@pytest.mark.parametrize("seed", range(1, 1 + sized(ci=1, full=50)))
async def test_other_words_leave_the_same_heads_to_the_last_bit(tmp_path, seed):
    (said, reworded_), (choices, other_choices) = await both(tmp_path, seed)

    assert said == reworded_
    assert choices == other_choices


async def test_control_features_that_take_in_the_message_change_heads(tmp_path, monkeypatch):
    replies_alone = FeatureMap.encode

    def pairs(self: FeatureMap, message: str, candidates) -> Encoded:
        encoded = replies_alone(self, message, candidates)
        said = self.features([message])
        return Encoded((encoded.features + 0.1 * said).astype(np.float32), encoded.relevance)

    monkeypatch.setattr(FeatureMap, "encode", pairs)

    (said, reworded_), (choices, other_choices) = await both(tmp_path, 1)

    assert all(said.heads[who] != reworded_.heads[who] for who in PEOPLE)
    assert said.prior != reworded_.prior
    assert said.counters == reworded_.counters
    assert choices != other_choices
