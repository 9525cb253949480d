"""Two simulated members with opposite tastes each get their own kind of reply, with the real encoder."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from personalization.encoding.features import FeatureMap
from personalization.heads.heads import starter_prior
from personalization.ranking.ranker import Ranker
from personalization.settings import LearningSettings
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples
from storage.records import HeadRecord, MemberId

TOPICS = (
    "pancakes, running shoes, old maps, jazz, winter tyres, house plants, chess openings, sourdough, "
    "night trains, budgets, stand-up comedy, Python decorators, camping stoves, houseplants, job "
    "interviews, cats, sleep, black holes, sushi, board games, guitar practice, sunburn, resumes, "
    "tea, mountain bikes, volcanoes, holiday gifts, meditation, knitting, cold showers, pasta shapes,"
    " bird watching, card tricks, gardening, science fiction, street photography, swimming, small "
    "talk, coffee grinders, moving house, podcasts, dentists, origami, rainy days, karaoke, ferries, "
    "mushrooms, time zones, lost keys, first aid"
).split(", ")
SHORT = [
    "Go for it!",
    "Honestly? {topic} is great.",
    "Nope, skip {topic}.",
    "Depends on the day.",
    "{topic}: yes please 😄",
    "Try it once and see.",
    "Hmm, not sure.",
    "Ha, good luck with that!",
]
LONG = [
    "There is a lot to say about {topic}. Most people start too fast, so take a week to look around "
    "first, write down what you like, and only then decide how much time and money you want to spend "
    "on it.",
    "I would think about {topic} in three steps. First find somebody who has done it for years, then "
    "ask what they would do differently today, and finally try the smallest version of it yourself.",
    "When it comes to {topic}, the details matter more than you would expect! For example, the same "
    "idea can work wonderfully for one person and fail for another, simply because their days look "
    "different. What is yours like?",
    "Good question. {topic} has changed quite a bit over the last few years, and much of the advice "
    "you find online is out of date. I can walk you through what still holds, and where opinions "
    "differ.",
]
ALICE, BOB = MemberId(b"a" * 16), MemberId(b"b" * 16)


def candidates(topic: str, rng: np.random.Generator) -> list[str]:
    """Two short and two long replies about a topic, in random order."""
    texts = [str(text) for kind in (SHORT, LONG) for text in rng.choice(kind, 2, replace=False)]
    rng.shuffle(texts)
    return [text.format(topic=topic) for text in texts]


def is_short(text: str) -> bool:
    return len(text) < 60


@pytest.mark.slow
async def test_each_member_gets_their_own_kind_after_twenty_labels(real_encoder) -> None:
    rng, settings = np.random.default_rng(5), LearningSettings(policy="epsilon", exploration=0.1)
    features = FeatureMap(real_encoder)
    prior = starter_prior(features, settings)
    heads: dict[MemberId, HeadRecord] = {}

    async def load(member_id: MemberId) -> HeadRecord | None:
        return heads.get(member_id)

    ranker = Ranker(features, settings, load, prior, rng)
    fresh = [(f"What do you think about {topic}?", candidates(topic, rng)) for topic in TOPICS[20:50]]

    async def share_of_short(member_id: MemberId) -> float:
        rankings = [await ranker.rank(member_id, message, texts) for message, texts in fresh]
        return float(np.mean([is_short(t[r.chosen]) for r, (_, t) in zip(rankings, fresh, strict=True)]))

    before = [await share_of_short(who) for who in (ALICE, BOB)]
    seen = [str(rng.choice(candidates(topic, rng))) for topic in TOPICS[:20]]
    liked = np.array([float(is_short(text)) for text in seen], np.float32)
    rows, ones = features.features(seen), np.ones(20, np.float32)
    bank, _ = learn_heads(Examples.pad([(rows, liked, ones), (rows, 1 - liked, ones)]), prior, "cpu")
    for u, who in enumerate((ALICE, BOB)):
        heads[who] = HeadRecord(1, 20, bank.head(u).to_bytes(), datetime(2026, 1, 1, tzinfo=UTC))
    await ranker.publish([ALICE, BOB])
    after = [await share_of_short(who) for who in (ALICE, BOB)]
    ranker.close()

    assert all(0.25 <= share <= 0.75 for share in before), before
    assert after[0] >= 0.8, after
    assert after[1] <= 0.2, after
