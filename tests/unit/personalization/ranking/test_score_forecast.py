"""The forecast of scores: what a candidate was dealt is learnt, and waited for where it is unknown."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from personalization.heads.heads import Head
from personalization.ranking.score_forecast import EFFECT, LEAST_SEEN, MEMORY, Forecast, RecentCandidates
from storage.records import MemberId, Seat

STYLES = ("a", "b", "c", "d")
HEAD = Head(np.ones(1, np.float16), 0.0, "f", "p")
ALICE = MemberId(b"a" * 16)
BOUND = 0.01
KINDS = ("wish", "writer", "examples")


def offered(seat: Seat, kind: str, name: str = "one") -> Seat:
    """Return a seat with something of a kind in it."""
    return replace(seat, examples=True) if kind == "examples" else replace(seat, **{kind: name})


class Server:
    """A server in which scores are sums: a style, what else was dealt, a message and a rest."""

    def __init__(self, seed: int, *, effect: float = 0.0, within: float = 0.3, between: float = 0.2) -> None:
        self.rng, self.recent = np.random.default_rng(seed), RecentCandidates()
        self.means = dict(zip(STYLES, self.rng.normal(size=4) * 0.5, strict=True))
        self.effect, self.within, self.between = effect, within, between

    def score(self, seats: list[Seat]) -> np.ndarray:
        """Draw the scores of the candidates of one reply."""
        plain = np.array([self.means[seat.style[0]] for seat in seats])
        more = [bool(seat.wish) + seat.examples + (seat.writer == "one") for seat in seats]
        of_message = self.between**0.5 * self.rng.normal()
        rests = self.within**0.5 * self.rng.normal(size=len(seats))
        return plain + self.effect * np.array(more) + of_message + rests

    def observe(self, seats: list[Seat], member: MemberId = ALICE, counted=list) -> None:
        """Let a reply with these candidates be seen; ``counted`` returns the seats as they are counted."""
        scores = self.score(seats)[:, None].astype(np.float32)
        self.recent.observe(counted(seats), scores, np.zeros(len(seats), np.float32), member_id=member)

    def forecast(self) -> Forecast:
        found = self.recent.forecast(HEAD, member_id=ALICE)
        assert found is not None
        return found


def plain_seats() -> list[Seat]:
    return [Seat(place, style) for place, style in enumerate(STYLES)]


def some_offered(rng: np.random.Generator, kind: str, name: str = "one", n: int = 1) -> list[Seat]:
    """Return four seats, ``n`` of them with something of a kind."""
    places = rng.permutation(4)[:n]
    return [offered(seat, kind, name) if seat.place in places else seat for seat in plain_seats()]


def by_name(seats: list[Seat]) -> list[Seat]:
    """Count as styles of their own what was dealt differently."""
    return [Seat(0, "+".join([one.style, one.writer, one.wish, str(one.examples)])) for one in seats]


def by_style(seats: list[Seat]) -> list[Seat]:
    """Count all that was dealt under a style as that style."""
    return [Seat(one.place, one.style) for one in seats]


def gain_of_styles(forecast: Forecast, seats, scores, outstanding) -> float:
    """Return the gain where only styles have an effect, by the formula of one-way variance components."""
    mean = {style: forecast.effects["style", style] for style in STYLES}
    rests = [score - mean[seat.style] for seat, score in zip(seats, scores, strict=True)]
    of_message = forecast.within + len(rests) * forecast.between
    total = 0.0
    for seat in outstanding:
        above = mean[seat.style] + forecast.between * sum(rests) / of_message - max(scores)
        variance = forecast.within * (1 + 1 / forecast.counts[seat.style])
        deviation = math.sqrt(variance + forecast.between * forecast.within / of_message)
        z = above / deviation
        total += above * (1 + math.erf(z / 2**0.5)) / 2 + deviation * math.exp(-z * z / 2) / math.tau**0.5
    return total


@pytest.mark.parametrize("seed", range(10))
def test_without_offers_only_styles_count(seed):
    server = Server(seed)
    for _ in range(MEMORY):
        server.observe([Seat(0, str(style)) for style in server.rng.choice(STYLES, 4)])
    forecast, seats = server.forecast(), plain_seats()
    scores = server.score(seats).tolist()

    gains = [forecast.gain(seats[:n], scores[:n], seats[n:]) for n in (1, 2, 3)]

    assert gains == pytest.approx(
        [gain_of_styles(forecast, seats[:n], scores[:n], seats[n:]) for n in (1, 2, 3)]
    )


def known_styles(n_members: int, counted) -> list[bool]:
    """Return for each style, with an offer of its own, whether its gain can be forecast."""
    server = Server(0)
    for n in range(MEMORY):
        seats = some_offered(server.rng, "wish", f"of {n % n_members}", 3)
        seats = [replace(seat, examples=bool(server.rng.random() < 0.25)) for seat in seats]
        server.observe(counted(seats))
    forecast, arrived = server.forecast(), counted(plain_seats()[:1])
    wishes = [offered(seat, "wish", f"of {seat.place % n_members}") for seat in plain_seats()]
    return [
        math.isfinite(forecast.gain(arrived, [0.0], counted([offered(seat, "examples")]))) for seat in wishes
    ]


@pytest.mark.parametrize("n_members", [1, 10, 40])
def test_styles_are_known_whatever_is_offered(n_members):
    assert all(known_styles(n_members, list))


def test_control_counted_by_whole_names_hardly_any_kind_is_known():
    assert not any(known_styles(10, by_name))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("effect", [-1.0, 0.0, 1.0])
def test_the_effect_of_an_offer_is_learnt_over_all_styles(kind, effect):
    found = []
    for seed in range(20):
        server = Server(seed, effect=effect)
        for _ in range(MEMORY):
            server.observe(some_offered(server.rng, kind))
        forecast = server.forecast()
        part = ("examples", "own") if kind == "examples" else (kind, "one")
        place = list(forecast.effects).index(part)
        found.append((forecast.effects[part] - effect, forecast.unsure[place, place] ** 0.5))
    off, unsure = np.array(found).T

    assert abs(off.mean()) < 0.1
    assert np.sqrt(np.mean(off**2)) == pytest.approx(unsure.mean(), rel=0.5), "it says how far off it may be"


@pytest.mark.parametrize("kind", KINDS)
def test_an_outstanding_kind_that_is_liked_better_is_waited_for(kind):
    server = Server(1, effect=3.0, within=0.05, between=0.05)
    for _ in range(MEMORY):
        server.observe(some_offered(server.rng, kind))
    forecast, seat = server.forecast(), Seat(0, "a")
    good = [server.means["a"] + 0.8]

    assert forecast.gain([seat], good, [seat]) / 4 < BOUND
    assert forecast.gain([seat], good, [offered(seat, kind)]) / 4 > 0.3


def rare_offers(kind: str, counted) -> float:
    """Return the gain from a seat with a rare offer that is liked better, by a way to count seats."""
    server = Server(1, effect=3.0, within=0.05, between=0.05)
    for n in range(MEMORY):
        seats = some_offered(server.rng, kind) if n % 10 == 0 else plain_seats()
        server.observe(seats, counted=counted)
    seat = Seat(0, "a")
    good = [server.means["a"] + 1.5]
    return server.forecast().gain([seat], good, counted([offered(seat, kind)])) / 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_rare_kind_that_is_liked_better_is_waited_for(kind):
    assert rare_offers(kind, list) > BOUND


@pytest.mark.parametrize("kind", KINDS)
def test_control_by_styles_alone_the_better_kind_is_not_waited_for(kind):
    assert rare_offers(kind, by_style) < BOUND


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_never_seen_is_waited_for_unless_the_best_is_far_ahead(kind):
    server = Server(2, within=0.05, between=0.05)
    for n in range(MEMORY):  # examples of others say nothing about one's own
        server.observe(some_offered(server.rng, kind, "another"), MemberId(bytes([n] * 16)))
    forecast, seat = server.forecast(), Seat(0, "a")
    new, mean = offered(seat, kind), server.means["a"]

    assert (
        forecast.gain([seat], [mean + 1], [seat]) / 4 < BOUND < forecast.gain([seat], [mean + 1], [new]) / 4
    )
    assert forecast.gain([seat], [mean + 5 * EFFECT], [new]) / 4 < BOUND


@pytest.mark.parametrize("effect", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("n_seen", [LEAST_SEEN, MEMORY])
def test_the_forecast_of_the_gain_is_not_below_what_waiting_brings(effect, n_seen):
    """Each reply has two seats with an offer; the arrived and the outstanding ones are drawn."""
    forecasts, gains = [], []
    for seed in range(60):
        server = Server(seed, effect=effect)
        for _ in range(n_seen):
            server.observe(some_offered(server.rng, "wish", n=2))
        forecast = server.forecast()
        for _ in range(5):
            seats = [some_offered(server.rng, "wish", n=2)[i] for i in server.rng.permutation(4)]
            scores, n = server.score(seats), int(server.rng.integers(1, 4))
            forecasts.append(forecast.gain(seats[:n], scores[:n].tolist(), seats[n:]))
            gains.append(max(0.0, scores[n:].max() - scores[:n].max()))
    short = np.array(gains) - np.array(forecasts)

    assert short.mean() < 2 * short.std() / len(short) ** 0.5
    low = np.array(forecasts) < np.median(forecasts)
    assert short[low].mean() < 2 * short[low].std() / low.sum() ** 0.5, "nor where it is small"
