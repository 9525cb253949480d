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
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bot.replies.shapes import shaped
from bot.settings import DEFAULT_STYLES
from personalization.arrays import DoubleArray, IntArray
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.heads.heads import Head, starter_prior
from personalization.ranking.early_stop import Forecast, RecentCandidates
from personalization.ranking.scores import combined
from personalization.ranking.style_portfolio import StylePortfolio
from personalization.score_quality import clustered_mean
from personalization.settings import LearningSettings
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples
from tests.benchmarks.taste_pool import digest, read_pool
from tests.benchmarks.tastes import TASTES, Satisfaction

BOUNDS = (0.0025, 0.005, 0.01, 0.02, 0.05)
WAYS = ("one by one", "at once", "at once, uneven")
NAMES = tuple(style.name for style in DEFAULT_STYLES)
K = 4
SLOPE = 1.5
CHARACTERS = 4.2
"""Characters of a token."""


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of a pool: message, style, features, relevance, tokens and liking (tastes x n) of each."""

    message: IntArray
    style: IntArray
    features: np.ndarray
    relevance: np.ndarray
    tokens: DoubleArray
    liking: DoubleArray


def texts_of(path: Path) -> Texts:
    """Read a pool, bring its texts into the shape of their styles, and encode them."""
    encoder = load_encoder("packaged", "cpu")
    found, rows, features, relevance = FeatureMap(encoder), [], [], []
    for number, (message, by_style) in enumerate(read_pool(path).items()):
        here = []
        for style in DEFAULT_STYLES:
            for one in by_style.get(style.name, []):
                here += [(number, NAMES.index(style.name), one.text, s.text) for s in shaped([one], [style])]
        encoded = found.encode(message, [row[3] for row in here])
        rows += here
        features.append(encoded.features)
        relevance.append(encoded.relevance)
    posted = [row[3] for row in rows]
    liked = Satisfaction(posted, encoder).of(posted)
    return Texts(
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows]),
        np.concatenate(features),
        np.concatenate(relevance),
        np.array([len(row[2]) / CHARACTERS + 1 for row in rows]),
        SLOPE * np.stack([liked[taste.name] for taste in TASTES]),
    )


def arrivals(tokens: DoubleArray, way: str, rng: np.random.Generator) -> DoubleArray:
    """Return the second at which each candidate arrives (k), in the order of the requests."""
    if way == "one by one":
        return np.cumsum(tokens) / 25
    if way == "at once":
        return tokens / 50
    start = np.exp(rng.normal(np.log(0.6), 0.4, len(tokens)))
    return start + tokens / 50 * np.exp(rng.normal(0, 0.25, len(tokens)))


class Player:
    """One member: their head, the styles dealt to them, and the forecast of their scores."""

    def __init__(self, texts: Texts, head: Head, seen: IntArray, rng: np.random.Generator) -> None:
        self.texts, self.head, self.rng = texts, head, rng
        self.portfolio = StylePortfolio(NAMES, rng)
        for i in np.flatnonzero(np.isin(texts.message, seen)):
            self.portfolio.observe(NAMES[texts.style[i]], texts.features[i])
        recent = RecentCandidates()
        for message in seen:
            dealt = self.dealt(message)
            recent.observe(self.styles(dealt), texts.features[dealt], texts.relevance[dealt])
        self.forecast: Forecast | None = recent.forecast(head)
        self.scores = head.score(texts.features) + texts.relevance

    def styles(self, some: IntArray) -> list[str]:
        """Return the names of the styles of some texts."""
        return [NAMES[i] for i in self.texts.style[some]]

    def dealt(self, message: int) -> IntArray:
        """Draw candidates for a message in the styles that the portfolio deals."""
        found: list[int] = []
        for style in self.portfolio.deal(K, self.head):
            here = np.flatnonzero((self.texts.message == message) & (self.texts.style == style))
            left = [i for i in here if i not in found]
            found += [int(self.rng.choice(left))] if left else []
        return np.array(found)

    def n_awaited(self, order: IntArray, bound: float) -> int:
        """Return how many candidates are awaited, if they arrive in this order."""
        assert self.forecast is not None
        styles, scores = self.styles(order), self.scores[order].tolist()
        for n in range(1, len(order)):
            if self.forecast.gain(styles[:n], scores[:n], styles[n:]) / 4 <= bound:
                return n
        return len(order)

    def best(self, some: IntArray) -> int:
        """Return the text that is ranked first among some."""
        scores, _ = combined(
            self.head.score(self.texts.features[some]),
            self.texts.relevance[some],
            relevance_weight=1.0,
            personal_bound=3.0,
        )
        return int(some[scores.argmax()])


def measure(texts: Texts, n_labels: int, n_repeats: int, seed: int) -> None:
    """Print a row for each way of arriving and each bound."""
    rng, settings = np.random.default_rng(seed), LearningSettings(device="cpu")
    prior = starter_prior(FeatureMap(load_encoder("packaged", "cpu")), settings)
    messages = rng.permutation(np.unique(texts.message))
    seen, asked = messages[: 2 * len(messages) // 3], messages[2 * len(messages) // 3 :]
    chances = 1 / (1 + np.exp(-texts.liking))  # (tastes, n)
    known, members = np.flatnonzero(np.isin(texts.message, seen)), []
    for chance in chances:
        labelled = rng.choice(known, n_labels, replace=False)
        thumbs = (rng.random(n_labels) < chance[labelled]).astype(np.float32)
        members.append((texts.features[labelled], thumbs, np.ones(n_labels, np.float32)))
    bank, _ = learn_heads(Examples.pad(members), prior, "cpu")
    players = [Player(texts, bank.head(u), seen, rng) for u in range(len(members))]
    for way in WAYS:
        found: dict[float, list[tuple[float, ...]]] = {bound: [] for bound in BOUNDS}
        for u, player in enumerate(players):
            for message in np.repeat(asked, n_repeats):
                dealt = player.dealt(message)
                at = arrivals(texts.tokens[dealt], way, rng)
                order, at = dealt[np.argsort(at)], np.sort(at)
                all_of_them = chances[u, player.best(order)]
                for bound in BOUNDS:
                    n = player.n_awaited(order, bound)
                    loss = all_of_them - chances[u, player.best(order[:n])]
                    found[bound].append((u, n < len(order), at[n - 1], at[-1], loss))
        for bound, rows in found.items():
            show(n_labels, way, bound, np.array(rows, np.float64))


def show(n_labels: int, way: str, bound: float, rows: DoubleArray) -> None:
    """Print one row of the table."""
    member, stopped, took, whole, loss = rows.T
    mean, error = clustered_mean(loss, member)
    early = stopped > 0
    each, of_early = clustered_mean(loss[early], member[early])
    saved = 1 - took.sum() / whole.sum()
    print(
        f"| {n_labels} | {way} | {bound:g} | {early.mean():.2f} | {took.mean():.2f} of {whole.mean():.2f} |"
        f" {saved:.2f} | {mean:+.4f} ± {error:.4f} | {each:+.4f} ± {of_early:.4f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--labels", type=int, nargs="+", default=[15, 40])
    parser.add_argument("--repeats", type=int, default=10, help="replies to each message")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    texts = texts_of(arguments.pool)
    print(f"Pool {digest(arguments.pool)}, {len(texts.message)} texts, {len(TASTES)} members")
    print("| labels | arrival | bound | stopped | seconds | saved | loss | loss where stopped |")
    print("|---|---|---|---|---|---|---|---|")
    for n_labels in arguments.labels:
        measure(texts, n_labels, arguments.repeats, arguments.seed)


if __name__ == "__main__":
    main()
