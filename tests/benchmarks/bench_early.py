"""``python -m tests.benchmarks.bench_early POOL``: what the early stop saves, and what it costs.

Simulated members of known tastes (``tests/benchmarks/tastes.py``) get the heads that the bot would learn from
some thumbs on replies of the pool (``tests/benchmarks/taste_pool.py``). Replies to other messages then arrive
in three ways:

* one by one: a server that writes one candidate after the other (:class:`~...known.Pace`);
* at once: all are written side by side, each as long as its text is;
* at once, uneven: as before, and requests differ in start (median 0.6 s, log sd 0.4) and speed (log sd 0.25).

The lengths are those of the pool's texts; 25 tokens a second one by one, 50 side by side, and the spread of
requests are assumptions. Columns: replies that stopped early, mean seconds to the last awaited candidate with
and without the early stop, and the loss in the chance that the member likes the reply (likes are logistic in
1.5 times their satisfaction), for all replies and for those that stopped, with the standard error over
members.

Members of one server share the recent candidates. With offers, learnt wishes and liked replies of the member
reach the obedient writer (``tests/benchmarks/obedient_writer.py``). Of two writers one is lively. Each reply
is judged three times: counted by part, as the bot does, and for comparison by the whole names of seats and by
the plain style alone. Rows with "a wish" are of the members who have a learnt wish.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bot.generation import Candidate, Context, Style, dealt_to, seated
from bot.replies.offers import MOST_EXAMPLES, NO_OFFERS, Offers, table_of, with_offer
from bot.replies.shapes import shaped
from bot.settings import DEFAULT_STYLES
from personalization.arrays import DoubleArray, FloatArray
from personalization.encoding.encoder import Encoder
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.heads.heads import Head, Prior, starter_prior
from personalization.insight.learnt_wishes import learnt_wishes
from personalization.ranking.dealing import Menu, Writer, deal
from personalization.ranking.score_forecast import MEMORY, Forecast, RecentCandidates
from personalization.ranking.scores import combined
from personalization.ranking.style_portfolio import StylePortfolio
from personalization.score_quality import clustered_mean
from personalization.settings import LearningSettings
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples
from storage.records import MemberId, Seat
from tests.benchmarks.obedient_writer import CHANGES, ObedientWriter
from tests.benchmarks.taste_pool import digest, read_pool
from tests.benchmarks.tastes import TASTES, Satisfaction
from tests.rig.encoded_once import EncodedOnce

BOUNDS = (0.005, 0.01, 0.05)
WAYS = ("one by one", "at once", "at once, uneven")
NAMES = tuple(style.name for style in DEFAULT_STYLES)
K = 4
STYLES = {style.name: style for style in DEFAULT_STYLES}
LIVELY = Writer("lively")
TWO = (Writer("calm"), LIVELY)
RUNNER = asyncio.Runner()
SLOPE = 1.5
CHARACTERS = 4.2
"""Characters of a token."""


@dataclass(frozen=True)
class How:
    """What the members of a server are dealt."""

    called: str
    members: int
    offers: bool = False
    writers: tuple[Writer, ...] = ()


class Texts:
    """Texts with features, relevance, tokens and liking (tastes) of each; each is encoded once.

    Attributes:
        pool: Message -> name of a style -> its texts.
    """

    def __init__(self, path: Path, encoder: Encoder) -> None:
        self.pool = {
            message: {
                style.name: [
                    Candidate(one.text, style.name) for one in shaped(by_style.get(style.name, []), [style])
                ]
                for style in DEFAULT_STYLES
            }
            for message, by_style in read_pool(path).items()
        }
        self._features = FeatureMap(encoder)
        self._judge = Satisfaction(
            [one.text for by_style in self.pool.values() for some in by_style.values() for one in some],
            encoder,
        )
        self._known: dict[tuple[str, str], Text] = {}

    def of(self, message: str, texts: Sequence[str]) -> list[Text]:
        """Return what is known of answers to a message."""
        new = [text for text in dict.fromkeys(texts) if (message, text) not in self._known]
        if new:
            encoded, liked = self._features.encode(message, new), self._judge.of(new)
            liking = SLOPE * np.stack([liked[taste.name] for taste in TASTES])
            for i, text in enumerate(new):
                self._known[message, text] = Text(
                    text, encoded.features[i], float(encoded.relevance[i]), liking[:, i]
                )
        return [self._known[message, text] for text in texts]


@dataclass(frozen=True, eq=False)
class Text:
    """A text: features ``d``, relevance, and the liking of each taste, logits."""

    text: str
    features: FloatArray
    relevance: float
    liking: DoubleArray

    @property
    def tokens(self) -> float:
        return len(self.text) / CHARACTERS + 1


def by_part(styles: Sequence[Style]) -> list[Seat]:
    """Count candidates as the bot does: by style, writer, wish and examples."""
    return [dealt_to(style) for style in styles]


def by_name(styles: Sequence[Style]) -> list[Seat]:
    """Count candidates by the whole name of their style, which holds wish and examples; for comparison."""
    return [Seat(0, style=style.name) for style in styles]


def by_style(styles: Sequence[Style]) -> list[Seat]:
    """Count candidates by their plain style, as if offers and writers had no effect; for comparison."""
    return [Seat(0, style=dealt_to(style).style) for style in styles]


COUNTED = {"by name": by_name, "by part": by_part, "by style": by_style}


def arrivals(tokens: DoubleArray, way: str, rng: np.random.Generator) -> DoubleArray:
    """Return the second at which each candidate arrives (k), in the order of the requests."""
    if way == "one by one":
        return np.cumsum(tokens) / 25
    if way == "at once":
        return tokens / 50
    start = np.exp(rng.normal(np.log(0.6), 0.4, len(tokens)))
    return start + tokens / 50 * np.exp(rng.normal(0, 0.25, len(tokens)))


@dataclass(frozen=True, eq=False)
class Player:
    """One member: their place among the tastes, their head, and what is offered to the writer."""

    number: int
    head: Head
    offers: Offers

    def chance(self, text: Text) -> float:
        """Return the chance that they like a text."""
        return float(1 / (1 + np.exp(-text.liking[self.number])))

    def score(self, texts: Sequence[Text]) -> DoubleArray:
        """Return the scores that the rule compares (k)."""
        features, relevance = (
            np.array([one.features for one in texts]),
            np.array([one.relevance for one in texts]),
        )
        return (self.head.score(features) + relevance).astype(np.float64)

    def best(self, texts: Sequence[Text]) -> Text:
        """Return the text that is ranked first."""
        scores, _ = combined(
            self.head.score(np.array([one.features for one in texts])),
            np.array([one.relevance for one in texts]),
            relevance_weight=1.0,
            personal_bound=3.0,
        )
        return texts[int(scores.argmax())]


class Server:
    """A server: what its members are dealt and get written, and how recent candidates scored."""

    def __init__(
        self, texts: Texts, players: Sequence[Player], seen: Sequence[str], how: How, rng: np.random.Generator
    ) -> None:
        self.texts, self.how, self.rng = texts, how, rng
        self.portfolio = StylePortfolio(NAMES)
        for message in seen:
            for name, some in texts.pool[message].items():
                for one in texts.of(message, [each.text for each in some]):
                    self.portfolio.observe(name, one.features)
        self.writer = ObedientWriter(texts.pool, rng)
        self.recent = {counted: RecentCandidates() for counted in COUNTED}
        for _ in range(MEMORY):
            player = players[rng.integers(len(players))]
            styles, found = self.written(player, seen[rng.integers(len(seen))])
            features = np.array([one.features for one in found], np.float32)
            relevance = np.array([one.relevance for one in found], np.float32)
            for counted, recent in self.recent.items():
                recent.observe(COUNTED[counted](styles), features, relevance, member_id=_id_of(player))

    def written(self, player: Player, message: str) -> tuple[list[Style], list[Text]]:
        """Deal candidates for a message and write them; return the dealt style of each, and its text."""
        table = table_of(player.offers, ())
        menu = Menu(self.portfolio.base(player.head), self.how.writers, table.wishes, table.examples)
        styles = [
            seated(with_offer(STYLES[seat.style], seat, player.offers), seat)
            for seat in deal(K, menu, [{}, {}, {}], self.rng)
        ]
        found: dict[str, Style] = {}
        for style in styles:
            (one,) = RUNNER.run(self.writer.generate(Context(message), [style]))
            text = CHANGES["lively"](one.text) if dealt_to(style).writer == LIVELY.name else one.text
            found.setdefault(text, style)
        return list(found.values()), self.texts.of(message, list(found))


def gains_of(forecast: Forecast, seats: Sequence[Seat], scores: Sequence[float]) -> list[float]:
    """Return the forecast of the gain of waiting after each arrival but the last, in this order."""
    return [forecast.gain(seats[:n], scores[:n], seats[n:]) for n in range(1, len(seats))]


def players_of(
    texts: Texts, seen: Sequence[str], n_labels: int, prior: Prior, how: How, rng: np.random.Generator
) -> list[Player]:
    """Let a member of each taste learn from some thumbs, as the bot would."""
    known = [
        one
        for message in seen
        for some in texts.pool[message].values()
        for one in texts.of(message, [each.text for each in some])
    ]
    members, liked = [], []
    for number in range(len(TASTES)):
        shown = [known[i] for i in rng.choice(len(known), n_labels, replace=False)]
        chances = 1 / (1 + np.exp(-np.array([one.liking[number] for one in shown])))
        thumbs = (rng.random(n_labels) < chances).astype(np.float32)
        members.append((np.array([one.features for one in shown]), thumbs, np.ones(n_labels, np.float32)))
        liked.append(
            tuple(one.text for one, thumb in zip(shown, thumbs, strict=True) if thumb)[:MOST_EXAMPLES]
        )
    bank, _ = learn_heads(Examples.pad(members), prior, "cpu")
    heads = [bank.head(number) for number in range(len(members))]
    return [
        Player(number, head, Offers(learnt_wishes(head, prior), liked[number]) if how.offers else NO_OFFERS)
        for number, head in enumerate(heads)
    ]


def measure(texts: Texts, n_labels: int, how: How, arguments: argparse.Namespace) -> None:
    """Print a row for each way of arriving and each bound."""
    rng, settings = np.random.default_rng(arguments.seed), LearningSettings(device="cpu")
    prior = starter_prior(FeatureMap(load_encoder("packaged", "cpu")), settings)
    messages = [list(texts.pool)[i] for i in rng.permutation(len(texts.pool))]
    seen, asked = messages[: 2 * len(messages) // 3], messages[2 * len(messages) // 3 :]
    players = players_of(texts, seen, n_labels, prior, how, rng)
    n_wishes = [len(player.offers.wishes) for player in players]
    print(f"members with 0 to 3 wishes: {np.bincount(n_wishes, minlength=4).tolist()}")
    found: dict[tuple[str, str, float], list[tuple[float, ...]]] = defaultdict(list)
    for first in range(0, len(players), how.members):
        together = players[first : first + how.members]
        server = Server(texts, together, seen, how, rng)
        for player in together:
            forecasts = {
                counted: recent.forecast(player.head, member_id=_id_of(player))
                for counted, recent in server.recent.items()
            }
            for message in asked * arguments.repeats:
                styles, written = server.written(player, message)
                tokens, scores = np.array([one.tokens for one in written]), player.score(written)
                for way in WAYS:
                    at = arrivals(tokens, way, rng)
                    order = np.argsort(at)
                    came, chances = [written[i] for i in order], [0.0]
                    chances += [player.chance(player.best(came[:n])) for n in range(1, len(came) + 1)]
                    for counted, forecast in forecasts.items():
                        assert forecast is not None
                        seats = COUNTED[counted]([styles[i] for i in order])
                        gains = gains_of(forecast, seats, scores[order].tolist())
                        for bound in BOUNDS:
                            n = next((n for n, g in enumerate(gains, 1) if g / 4 <= bound), len(came))
                            loss = chances[-1] - chances[n]
                            row = (player.number, n < len(came), at[order[n - 1]], at.max(), loss)
                            found[counted, way, bound].append(row)
    wish = [player.number for player in players if player.offers.wishes]
    for (counted, way, bound), found_here in sorted(found.items()):
        rows = np.array(found_here, np.float64)
        show(f"{how.called} | {n_labels} | {counted} | {way}", bound, rows)
        if wish:
            show(
                f"{how.called}, a wish | {n_labels} | {counted} | {way}",
                bound,
                rows[np.isin(rows[:, 0], wish)],
            )


def _id_of(player: Player) -> MemberId:
    return MemberId(bytes([player.number] * 16))


def show(called: str, bound: float, rows: DoubleArray) -> None:
    """Print one row of the table."""
    member, stopped, took, whole, loss = rows.T
    mean, error = clustered_mean(loss, member)
    early = stopped > 0
    each, of_early = clustered_mean(loss[early], member[early])
    saved = 1 - took.sum() / whole.sum()
    print(
        f"| {called} | {bound:g} | {early.mean():.2f} | {took.mean():.2f} of {whole.mean():.2f} |"
        f" {saved:.2f} | {mean:+.4f} ± {error:.4f} | {each:+.4f} ± {of_early:.4f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--labels", type=int, nargs="+", default=[15, 40])
    parser.add_argument("--repeats", type=int, default=10, help="replies to each message")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 16], help="members of a server")
    parser.add_argument("--offers-only", action="store_true", help="leave out servers without offers")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    texts = Texts(arguments.pool, EncodedOnce(load_encoder("packaged", "cpu")))
    print(f"Pool {digest(arguments.pool)}, {len(texts.pool)} messages, {len(TASTES)} members")
    columns = "members offers writers labels counted arrival bound stopped seconds saved loss".split()
    print(f"| {' | '.join([*columns, 'loss where stopped'])} |")
    print("|" + 12 * "---|")
    for n_labels in arguments.labels:
        for n in arguments.members:
            for offers, writers in ((False, ()), (True, ()), (True, TWO)):
                called = f"{n} | {'yes' if offers else 'no'} | {len(writers) or 1}"
                if offers or not arguments.offers_only:
                    measure(texts, n_labels, How(called, n, offers, writers), arguments)


if __name__ == "__main__":
    main()
