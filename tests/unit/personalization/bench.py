"""Test bench with a store, a ranker and a trainer, shared by the tests of rounds."""

from __future__ import annotations

import numpy as np

from personalization.encoding.features import FeatureMap
from personalization.heads.heads import starter_prior
from personalization.labels.labels import EmojiValence
from personalization.ranking.ranker import Ranker
from personalization.rounds.trainer import Trainer
from personalization.settings import LearningSettings
from storage.records import Impression, Place, Who
from storage.store import Store
from tests.fakes import FixedClock

ALICE, BOB = Who(1, 100), Who(1, 200)
CROWD = [Who(1, 1000 + i) for i in range(6)]
SETTINGS = LearningSettings(policy="greedy", prior_min_members=5, prior_min_days=0, device="cpu")
SHORT, LONG = "Yes!", "Well, that depends on many things, and I would like to tell you about all of them."


class Bench:
    """A store, a ranker and a trainer, with short methods to drive them."""

    def __init__(self, store: Store, features: FeatureMap, executor, clock: FixedClock) -> None:
        self.store, self.features = store, features
        prior = starter_prior(features, SETTINGS)
        self.ranker = Ranker(features, SETTINGS, store.learning.head_of, prior, np.random.default_rng(0))
        self.trainer = Trainer(
            store.learning, self.ranker, SETTINGS, features, EmojiValence(), executor, now=clock
        )
        self.n_messages = 0

    async def reply(self, who: Who, text: str) -> int:
        """Store a reply to a consenting member; return its message id."""
        self.n_messages += 1
        features = self.features.features([text])[0].tobytes()
        impression = Impression(
            (text,), ("plain",), 0, (0.0,), (0.0,), (1.0,), "greedy", 0, self.features.feature_id, features
        )
        await self.store.replies.record(who, Place(1, (self.n_messages,)), impression)
        return self.n_messages

    async def teach(self, who: Who, *, likes: str, dislikes: str) -> None:
        await self.store.consent.record(who)
        for text, emoji in ((likes, "👍"), (dislikes, "👎")):
            await self.store.feedback.record_reaction(who, await self.reply(who, text), emoji, added=True)

    async def head(self, who: Who) -> bytes | None:
        record = await self.store.learning.head_of(self.store.member_id(who))
        return None if record is None else record.body

    async def favourite(self, who: Who) -> str:
        texts = [SHORT, LONG]
        return texts[(await self.ranker.rank(self.store.member_id(who), "", texts)).chosen]


class Meanwhile:
    """A store that runs a hook just before a write, as if something happened while heads were solved."""

    def __init__(self, store: Store, method: str, happens) -> None:
        self._store, self._method, self._happens = store, method, happens

    def __getattr__(self, name: str):
        found = getattr(self._store, name)
        if name != self._method:
            return found

        async def later(*args, **kwargs):
            await self._happens()
            return await found(*args, **kwargs)

        return later
