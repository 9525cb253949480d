"""A population of honest members in four servers, and hostile accounts that answer the other way round."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from personalization.encoding.features import FeatureMap
from personalization.heads.heads import Prior, starter_prior
from personalization.labels.labels import EmojiValence, Meaning
from personalization.rounds import trainer as rounds
from personalization.rounds.examples import MemberFeedback
from personalization.rounds.teaching import teach
from personalization.score_quality import concordance
from personalization.settings import LearningSettings
from storage.records import MemberId
from tests.fakes import HashEncoder

FEATURES = FeatureMap(HashEncoder(8))
N_EMBEDDING = 8
SETTINGS = LearningSettings(device="cpu")
N_SERVERS = 4
PLACES = ("one server", "one person", "many servers", "among others")
"""Where the hostile accounts are: all in one server; one person in a server for each; in as many servers as
the honest members; in the servers of the honest members."""
MOODS = ("contrary", "random", "dislikes all", "half contrary")
"""What the hostile accounts answer: the contrary of what they like, by a coin, thumbs down, the contrary to
every second reply."""


class Crowds:
    """Honest members, and as many hostile accounts as asked for.

    Args:
        n_honest: Honest members, over four servers.
        n_labels: Labels of every account.
        seed: Seed of everybody's tastes and labels.
    """

    emoji = "🔥"

    def __init__(self, n_honest: int, n_labels: int = 20, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._common = 0.6 * self._rng.normal(size=FEATURES.dim)
        self._n, self._n_labels = 0, n_labels
        self.strangers = [self._one(n_labels, b"", b"") for _ in range(100)]
        self.honest = [self._one(n_labels, b"h%d" % (i % N_SERVERS), b"") for i in range(n_honest)]

    def _one(self, n: int, guild: bytes, person: bytes, *, mood: str = "") -> MemberFeedback:
        X = self._rng.normal(size=(n, FEATURES.dim)).astype(np.float32)
        X[:, :N_EMBEDDING] /= np.sqrt(N_EMBEDDING)
        logits = X @ (self._common + 0.35 * self._rng.normal(size=FEATURES.dim))
        truly = self._rng.random(n) < (0.5 if mood == "random" else 1 / (1 + np.exp(-logits)))
        answers = {
            "contrary": ~truly,
            "dislikes all": np.zeros(n, bool),
            "half contrary": truly != (np.arange(n) % 2 == 0),
        }
        liked = answers.get(mood, truly)
        signs = []
        for i, one in enumerate(liked):
            thumb = "👍" if one else "👎"
            shown = i % 3 == 0 and bool(one) != bool(mood)  # hostile accounts put it on what they dislike
            signs.append(((thumb, self.emoji) if shown else (thumb,), None))
        self._n += 1
        at = datetime(2026, 1, 1, tzinfo=UTC)
        own = person or b"p%d" % self._n
        return MemberFeedback(MemberId(self._n.to_bytes(16)), X, tuple(signs), (at,) * n, guild, person=own)

    def hostile(self, n: int, how: str, mood: str = MOODS[0]) -> list[MemberFeedback]:
        """Return hostile accounts."""
        guild = {
            "one server": lambda i: b"x",
            "one person": lambda i: b"x%d" % i,
            "many servers": lambda i: b"x%d" % (i % N_SERVERS),
            "among others": lambda i: b"h%d" % (i % N_SERVERS),
        }[how]
        person = b"spy" if how == "one person" else b""
        return [self._one(self._n_labels, guild(i), person, mood=mood) for i in range(n)]

    def taught(self, n_hostile: int, how: str, mood: str = MOODS[0]) -> Prior:
        """Return the prior that the honest and these accounts teach.

        Equal arguments give equal accounts.
        """
        self._rng = np.random.default_rng((1, n_hostile, PLACES.index(how)))
        lesson = teach(
            [*self.honest, *self.hostile(n_hostile, how, mood)],
            starter_prior(FEATURES, SETTINGS),
            EmojiValence(),
            SETTINGS,
            member_cap=rounds.PRIOR_MEMBER_CAP,
            n_embedding=N_EMBEDDING,
        )
        assert lesson is not None
        return lesson.prior


def loss_of(prior: Prior, strangers: list[MemberFeedback]) -> float:
    """Return the log loss of the prior's head on members who did not teach it."""
    X = np.concatenate([one.X for one in strangers])
    liked = np.array([sign[0][0] == "👍" for one in strangers for sign in one.signs])
    scores = prior.head().score(X)
    return float(np.mean(np.logaddexp(0, scores) - liked * scores))


def order_of(prior: Prior, strangers: list[MemberFeedback]) -> float:
    """Return the mean share of their pairs of a like and a dislike that the prior's head orders rightly."""
    found = [
        concordance(prior.head().score(one.X), [sign[0][0] == "👍" for sign in one.signs])
        for one in strangers
    ]
    return float(np.nanmean(found))


def emoji_of(prior: Prior, emoji: str) -> Meaning:
    """Return the meaning of an emoji under a prior."""
    return EmojiValence().learnt(prior.meanings).meaning_of(emoji)
