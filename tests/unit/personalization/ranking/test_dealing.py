"""Dealing: seats occur as often as the share that they carry, and never more than k of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from personalization.ranking.arms import Tally
from personalization.ranking.dealing import EXAMPLES, STYLE, WISH, WRITER, Menu, Writer, deal, systematic

STYLES = {"concise": 0.4, "detailed": 0.3, "playful": 0.2, "warm": 0.1}
WRITERS = (Writer("plain"), Writer("poet", 2.0, ("playful", "warm")), Writer("small", 0.5))
MENU = Menu(STYLES, WRITERS, {"shorter": 0.3, "no-emoji": 0.2}, 0.25)
LIKES = {
    STYLE: {"concise": Tally(1, 6), "warm": Tally(5, 1)},
    WRITER: {"plain": Tally(3, 3), "small": Tally(0, 4)},
    WISH: {"": Tally(4, 3), "shorter": Tally(3, 0)},
    EXAMPLES: {"": Tally(4, 2), "shown": Tally(1, 2)},
}


@pytest.mark.parametrize("k", [3, 4])
def test_every_option_occurs_as_often_as_the_share_that_goes_with_it(k):
    rng, n_deals = np.random.default_rng(k), 500

    dealt = [deal(k, MENU, [{}, {}, LIKES], rng) for _ in range(n_deals)]

    seats = [seat for one in dealt for seat in one]
    for place, option in enumerate((lambda s: s.style, None, lambda s: s.wish, lambda s: s.examples)):
        if option is None:
            continue
        counts = Counter(map(option, seats))
        share = {option(seat): seat.shares[place] for seat in seats}
        assert {one: n / len(seats) for one, n in counts.items()} == pytest.approx(share, abs=0.04)
        assert sum(share.values()) == pytest.approx(1)


def test_a_writer_occurs_within_its_styles_as_often_as_its_share():
    rng = np.random.default_rng(1)

    seats = [seat for _ in range(500) for seat in deal(4, MENU, [LIKES], rng)]

    assert {seat.style for seat in seats if seat.writer == "poet"} == {"playful", "warm"}
    for styles in (("concise", "detailed"), ("playful", "warm")):
        own = [seat for seat in seats if seat.style in styles]
        share = {seat.writer: seat.shares[1] for seat in own}
        counts = Counter(seat.writer for seat in own)
        assert {one: n / len(own) for one, n in counts.items()} == pytest.approx(share, abs=0.04)


def test_the_parts_of_a_seat_are_independent():
    rng = np.random.default_rng(2)
    menu = Menu(dict.fromkeys(STYLES, 0.25), (), {"shorter": 0.5}, 0.5)

    seats = [seat for _ in range(1500) for seat in deal(4, menu, [{}], rng)]

    counts = Counter((seat.style, seat.wish, seat.examples) for seat in seats)
    assert len(counts) == 16
    assert all(n / len(seats) == pytest.approx(1 / 16, abs=0.02) for n in counts.values())


@pytest.mark.parametrize("k", [1, 2, 4, 16])
def test_k_seats_are_dealt_in_order_of_their_places(k):
    seats = deal(k, MENU, [LIKES, {}, LIKES], np.random.default_rng(3))

    assert [seat.place for seat in seats] == list(range(k))


def test_half_of_the_seats_have_a_wish_of_half_the_share_and_none_without_offers():
    menu = Menu(STYLES, (), {"shorter": 0.5})

    for seed in range(20):
        seats = deal(4, menu, [{}], np.random.default_rng(seed))
        assert sum(seat.wish == "shorter" for seat in seats) == 2
        plain = deal(4, Menu(STYLES), [LIKES], np.random.default_rng(seed))
        assert not any(seat.wish or seat.examples or seat.writer for seat in plain)


def test_a_style_that_no_writer_writes_goes_to_any_of_them():
    menu = Menu({"warm": 1.0}, (Writer("a", 1.0, ("concise",)), Writer("b", 1.0, ("concise",))))

    assert {seat.writer for seat in deal(8, menu, [{}], np.random.default_rng(0))} == {"a", "b"}


@pytest.mark.parametrize("k", [1, 3, 4, 7])
def test_systematic_sampling_gives_the_floor_or_the_ceiling_of_each_share(k):
    share = [0.5, 0.3, 0.15, 0.05]

    for seed in range(50):
        counts = np.bincount(systematic(share, k, np.random.default_rng(seed)), minlength=4)
        assert counts.sum() == k
        assert (np.abs(counts - k * np.array(share)) < 1).all()
