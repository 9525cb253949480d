"""P14: no crowd, no server and no person with many accounts decides what members share.

Honest members of four servers teach the prior and use an emoji of the public table. Hostile accounts dislike
whatever the others like, and put the emoji on what they dislike. They are in one server, in several, or one
person in many servers; 10 to 60 % of all accounts. Each server's and each person's part is capped, so that
the prior's loss on held-out honest members moves little, and the emoji never means the opposite.

The ceiling, measured by ``tests/benchmarks/hostile_shares.py``: against hostile accounts in as many servers as
the honest ones no rule that counts can help, only the waiting time and the caps per member do.

Control: with the caps off, the same accounts turn the emoji and move the loss by more.
"""

from __future__ import annotations

import numpy as np
import pytest

from personalization import sharing
from personalization.heads.heads import starter_prior
from personalization.labels import emoji_meanings
from personalization.labels.labels import EmojiValence
from personalization.population import server_shifts
from personalization.rounds import teaching
from tests.rig.crowds import HONEST_SERVERS, Crowds, emoji_of, loss_of

pytestmark = pytest.mark.promise("P14")


@pytest.fixture(scope="module")
def crowds() -> Crowds:
    return Crowds(n_honest=40)


def uncapped(weights, _owners, *, most, min_members):
    return np.ones(len(weights)) if len(weights) >= min_members else None


@pytest.fixture
def no_caps(monkeypatch):
    for module in (emoji_meanings, server_shifts, teaching):
        monkeypatch.setattr(module, "shares", uncapped)


def moved(crowds: Crowds, n_hostile: int, how: str) -> float:
    """Return by how much hostile accounts raise the loss of held-out honest members."""
    without, with_them = crowds.taught(0, how), crowds.taught(n_hostile, how)
    assert loss_of(without, crowds.strangers) < 0.69 - 0.01  # something was learnt that could be spoilt
    return loss_of(with_them, crowds.strangers) - loss_of(without, crowds.strangers)


@pytest.mark.parametrize("how", ["one server", "one person"])
def test_a_crowd_does_not_turn_the_prior(crowds, how):
    assert moved(crowds, 50, how) < 0.01


@pytest.mark.parametrize("how", ["one server", "one person", "many servers"])
def test_a_crowd_never_turns_an_emoji_of_the_tables(crowds, how):
    table = EmojiValence().meaning_of(crowds.emoji)

    meaning = emoji_of(crowds.taught(60, how), crowds.emoji)

    assert table.value > 0.5
    assert meaning.value >= 0


def test_control_without_the_rule_the_same_crowd_turns_the_prior(crowds, no_caps):
    assert moved(crowds, 50, "one server") > 0.01


def test_control_without_the_caps_members_of_one_server_make_an_emoji_fade(crowds, no_caps):
    capped = sharing.shares(
        [1.0] * 44, HONEST_SERVERS[:0] or crowds.owners(40, 4, "one server"), most=20.0, min_members=20
    )

    assert capped is not None
    assert emoji_of(crowds.taught(60, "one server"), crowds.emoji).value <= 0.05
