"""P14: no crowd, no server and no person with many accounts decides what members share.

Honest members of four servers teach the prior and use an emoji of the public table. Hostile accounts dislike
whatever the others like, and put the emoji on what they dislike. They are in one server, in several, or one
person in many servers; 10 to 60 % of all accounts. Each server's and each person's part is capped, so that
the prior's loss on held-out honest members moves little, and the emoji never means the opposite.

The ceiling is measured by ``tests/benchmarks/hostile_shares.py``: against hostile accounts in as many servers
as the honest ones no rule that counts can help, only the waiting time and the caps per member do.

Control: with the caps off, the same accounts turn the emoji and move the loss by more.
"""

from __future__ import annotations

import numpy as np
import pytest

import tests.rig.crowds
from personalization import sharing
from personalization.labels import emoji_meanings
from personalization.labels.labels import EmojiValence, Valence
from personalization.population import server_shifts
from personalization.rounds import teaching
from personalization.sharing import Owner, shares
from tests.rig.crowds import Crowds, emoji_of, loss_of

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
    assert loss_of(without, crowds.strangers) < 0.6  # something was learnt that could be spoilt
    return loss_of(with_them, crowds.strangers) - loss_of(without, crowds.strangers)


def test_one_person_with_many_accounts_moves_the_prior_by_less_than_a_point(crowds):
    assert moved(crowds, 27, "one person") < 0.01


def test_a_server_of_hostile_accounts_does_not_turn_the_prior(crowds):
    assert (
        moved(crowds, 50, "one server") < 0.1
    )  # the ceiling: its capped part is as large as honest servers'


@pytest.mark.parametrize("how", ["one server", "one person", "many servers"])
def test_a_crowd_never_turns_an_emoji_of_the_tables(crowds, how):
    meaning = emoji_of(crowds.taught(100, how), crowds.emoji)

    assert EmojiValence().meaning_of(crowds.emoji).value > 0.5
    assert meaning.value >= 0


def test_control_without_the_rule_the_same_accounts_spoil_the_prior(crowds, no_caps):
    assert moved(crowds, 27, "one person") > 0.1
    assert moved(crowds, 50, "one server") > 0.1


def test_control_without_the_floor_at_zero_the_emoji_turns(crowds, no_caps, monkeypatch):
    unknown = EmojiValence()
    monkeypatch.setitem(unknown._table, crowds.emoji, Valence(0.0, 0.0))
    monkeypatch.setattr(tests.rig.crowds, "EmojiValence", lambda: unknown)

    assert emoji_of(crowds.taught(100, "one server"), crowds.emoji).value < -0.2


@pytest.mark.parametrize("sizes", [(40,), (1000, 1), (40, 50), (10, 10, 10, 10, 50), (1,) * 30])
def test_no_server_has_more_than_its_part_and_none_is_silenced(sizes):
    owners = [Owner(server=b"%d" % server) for server, n in enumerate(sizes) for _ in range(n)]

    kept = shares([1.0] * len(owners), owners, most=20.0, min_members=20)

    if kept is None:
        assert sum(sizes) < 40  # the effective number is too small
        return
    per_server = np.bincount(np.repeat(np.arange(len(sizes)), sizes), weights=kept)
    part = max(sharing.SERVER_SHARE, 1 / len(sizes)) * per_server.sum()
    for n, weight in zip(sizes, per_server, strict=True):
        assert weight <= max(part, 10) + 1e-6 or len(sizes) == 1 or set(sizes) == {1}
        assert weight >= min(n, 10) - 1e-6
    assert len(sizes) > 1 or (kept == 1).all()
