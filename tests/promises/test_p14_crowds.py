"""P14: no crowd, no server and no person with many accounts decides what members share.

Honest members of four servers teach the prior and use an emoji of the public table. Hostile accounts dislike
whatever the others like, and put the emoji on what they dislike. They are in one server, in several, among
the honest members, or one person in many servers. Each server's and each person's part is capped, and members
who contradict the taste that the others share hardly count. So the prior's loss on held-out honest members
moves by less than a point, and the emoji keeps its meaning.

The ceiling is measured by ``tests/benchmarks/hostile_shares.py``. Where less than two thirds agree, nobody
can tell which side is honest. Then the mean is the starter's, so the crowd takes away what was learnt, but
teaches nothing of its own.

Controls: with the agreement off, a server of hostile accounts and accounts in many servers move the loss by
more than three points; with the caps off as well, one person does and the emoji turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

import tests.rig.crowds
from personalization import sharing
from personalization.heads.heads import Prior
from personalization.labels import emoji_meanings
from personalization.labels.labels import EmojiValence, Valence
from personalization.population import server_shifts
from personalization.population.agreement import Agreement
from personalization.population.fit_prior import fit_prior
from personalization.rounds import teaching
from personalization.sharing import Owner, shares
from tests.rig.crowds import MOODS, Crowds, emoji_of, loss_of, order_of
from tests.rig.size import sized

pytestmark = pytest.mark.promise("P14")

N_HONEST = 48
ONE_SERVER = [N_HONEST, *sized(ci=[], full=[5, 12, 21, 32, 72])]
MANY_SERVERS = [21, *sized(ci=[], full=[5, 12])]
"""Numbers of hostile accounts beside the honest ones: 10 to 60 %, and up to 30 %."""


@pytest.fixture(scope="module")
def crowds() -> Iterator[Crowds]:
    with pytest.MonkeyPatch.context() as patched:
        # The calibration does not change the mean, and takes most of the time.
        patched.setattr(teaching, "fit_prior", partial(fit_prior, calibrated=False))
        yield Crowds(n_honest=N_HONEST)


@pytest.fixture(scope="module")
def honest(crowds) -> Prior:
    """The prior without hostile accounts."""
    return crowds.taught(0, "one server")


@pytest.fixture(scope="module")
def honest_loss(crowds, honest) -> float:
    """Its loss on held-out members; .69 is a coin's."""
    found = loss_of(honest, crowds.strangers)
    assert found < 0.6  # something was learnt that could be spoilt
    return found


def uncapped(weights, _owners, *, most, min_members):
    return np.ones(len(weights)) if len(weights) >= min_members else None


@pytest.fixture
def no_agreement(monkeypatch):
    monkeypatch.setattr(teaching, "agreement_of", lambda *args, **kwargs: Agreement({}, quorum=True))


@pytest.fixture
def no_caps(monkeypatch, no_agreement):
    for module in (emoji_meanings, server_shifts, teaching):
        monkeypatch.setattr(module, "shares", uncapped)


@pytest.mark.parametrize(
    ("how", "n_hostile"),
    [
        ("one person", 27),
        ("among others", 12),
        *(("one server", n) for n in ONE_SERVER),
        *(("many servers", n) for n in MANY_SERVERS),
    ],
)
def test_hostile_accounts_move_the_prior_by_less_than_a_point(crowds, honest_loss, how, n_hostile):
    prior = crowds.taught(n_hostile, how)

    assert loss_of(prior, crowds.strangers) < honest_loss + 0.01
    assert emoji_of(prior, crowds.emoji).value > 0.8


@pytest.mark.parametrize("mood", MOODS[1:])
def test_other_hostile_answers_of_one_server_spoil_the_order_by_at_most_a_point(crowds, honest, mood):
    with_them = crowds.taught(N_HONEST, "one server", mood)

    assert order_of(with_them, crowds.strangers) > order_of(honest, crowds.strangers) - 0.01
    assert emoji_of(with_them, crowds.emoji).value > 0.5


def test_a_majority_in_many_servers_teaches_nothing(crowds):
    prior = crowds.taught(72, "many servers")

    assert not prior.mean.any()  # the starter's
    assert emoji_of(prior, crowds.emoji) == EmojiValence().meaning_of(crowds.emoji)


def test_a_crowd_that_shares_the_honest_taste_never_turns_an_emoji_of_the_tables(crowds, no_agreement):
    meaning = emoji_of(crowds.taught(100, "many servers"), crowds.emoji)

    assert EmojiValence().meaning_of(crowds.emoji).value > 0.5
    assert meaning.value >= 0


@pytest.mark.parametrize(("how", "n_hostile"), [("one server", N_HONEST), ("many servers", 21)])
def test_control_without_the_agreement_the_same_accounts_move_the_prior(
    crowds, honest_loss, no_agreement, how, n_hostile
):
    assert loss_of(crowds.taught(n_hostile, how), crowds.strangers) > honest_loss + 0.03


def test_control_without_the_caps_one_person_moves_the_prior(crowds, honest_loss, no_caps):
    assert loss_of(crowds.taught(27, "one person"), crowds.strangers) > honest_loss + 0.05


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


@pytest.mark.parametrize("parts", [(0.0, 1.0), (0.1, 0.9), (0.5, 0.5)])
@pytest.mark.parametrize("n_against", [0, 5, 20, 30])
def test_the_agreement_leaves_enough_persons_or_has_no_effect(n_against, parts):
    agrees = [parts[0]] * n_against + [parts[1]] * (40 - n_against)
    owners = [Owner(server=b"%d" % (i % 4), agrees=part) for i, part in enumerate(agrees)]

    kept = shares([1.0] * 40, owners, most=20.0, min_members=20)

    assert kept is not None
    assert sharing.effective(kept) >= 20 - 1e-6
    assert kept[-1] > 0
