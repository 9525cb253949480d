"""P14: a stranger cannot move your head.

Hostile accounts consent and press thumbs down on every reply that a member got. The member's head, solved
again, has the same bytes, because only the member's own reactions are its labels. A crowd that joined today
does not influence the prior at all. Among members who stay, one in ten dislikes whatever the others like and
reacts fifteen times as often. The prior's loss on held-out members moves by less than one point, because each
member's labels per day and total weight are capped.

Controls: hostile reactions counted as the member's own change the head; without the waiting time the crowd
changes the prior; without the caps the same hostile tenth moves the loss by more than a point.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from personalization.encoding.features import FeatureMap
from personalization.heads.heads import starter_prior
from personalization.labels.labels import EmojiValence
from personalization.rounds import trainer as rounds
from personalization.rounds.examples import MemberFeedback
from personalization.rounds.gathering import thinned
from personalization.rounds.teaching import teach
from personalization.settings import LearningSettings
from storage.records import MemberId, Who
from storage.store import Store
from tests.fakes import FixedClock, HashEncoder
from tests.rig.size import sized
from tests.unit.personalization.bench import ALICE, CROWD, LONG, SETTINGS, SHORT, Bench
from tests.unit.storage.given import settings_in

pytestmark = pytest.mark.promise("P14")

HOSTILE = [Who(1, 50_000 + i) for i in range(sized(ci=24, full=1000))]
HONEST, CONTRARY = 120, 13
DAY = 20
FEATURES = FeatureMap(HashEncoder(8))
N_EMBEDDING = 8


@pytest.fixture
async def stage(tmp_path):
    """A store, a ranker and a trainer; Alice has a head."""
    clock = FixedClock()
    with ThreadPoolExecutor(1) as executor:
        async with await Store.open(settings_in(tmp_path), now=clock) as store:
            bench = Bench(store, FEATURES, executor, clock)
            for _ in range(3):
                await bench.teach(ALICE, likes=LONG, dislikes=SHORT)
            yield bench
            await bench.trainer.close()
            bench.ranker.close()


async def solved_again(bench: Bench) -> bytes | None:
    """Return Alice's head after a round that solves it again with unchanged labels."""
    reply_id = await bench.store.replies.of_message(1)
    for rating in (1, None):
        await bench.store.feedback.record_rating(ALICE, reply_id, rating)
    await bench.trainer.run_round()
    return await bench.head(ALICE)


async def attack(bench: Bench, *, as_whom=None) -> None:
    for who in HOSTILE:
        await bench.store.consent.record(who)
        for message_id in range(1, bench.n_messages + 1):
            await bench.store.feedback.record_reaction(as_whom or who, message_id, "👎", added=True)


async def test_a_crowd_of_strangers_does_not_move_a_head(stage):
    before = await solved_again(stage)

    await attack(stage)

    assert before is not None
    assert await solved_again(stage) == before


async def test_control_clicks_counted_as_the_members_own_move_the_head(stage):
    before = await solved_again(stage)

    await attack(stage, as_whom=ALICE)

    assert await solved_again(stage) != before


async def prior_after_a_crowd(bench: Bench, *, days: float) -> tuple[bytes, bytes]:
    """Return the prior of honest long-term members, without and with a crowd that joined an hour ago."""
    bench.trainer._settings = replace(SETTINGS, prior_min_days=days)
    for who in CROWD:
        await bench.teach(who, likes=LONG, dislikes=SHORT)
    bench.trainer._now = lambda: FixedClock()() + timedelta(days=3)
    await bench.trainer.rebuild_prior()
    before = bench.ranker.prior.to_bytes()
    for part in (bench.store.consent, bench.store.replies, bench.store.feedback):
        part._now = lambda: FixedClock()() + timedelta(days=3, hours=-1)
    await attack(bench)
    await bench.trainer.rebuild_prior()
    return before, bench.ranker.prior.to_bytes()


async def test_a_crowd_that_came_today_does_not_teach_the_prior(stage):
    before, after = await prior_after_a_crowd(stage, days=1.0)

    assert after == before


async def test_control_without_days_of_waiting_the_crowd_teaches_the_prior(stage):
    before, after = await prior_after_a_crowd(stage, days=0.0)

    assert after != before


class People:
    """Random members whose tastes differ about as much as they agree, like those of DBDC3's judges."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.common = 0.25 * self.rng.normal(size=FEATURES.dim)
        self.n = 0

    def draw(self, n_members: int, n_labels: int, *, contrary: bool = False) -> list[MemberFeedback]:
        return [self._one(n_labels, contrary) for _ in range(n_members)]

    def _one(self, n: int, contrary: bool) -> MemberFeedback:
        X = self.rng.normal(size=(n, FEATURES.dim)).astype(np.float32)
        X[:, :N_EMBEDDING] /= np.sqrt(N_EMBEDDING)
        logits = X @ (self.common + 0.35 * self.rng.normal(size=FEATURES.dim))
        liked = (self.rng.random(n) < 1 / (1 + np.exp(-logits))) != contrary
        self.n += 1
        at = datetime(2026, 1, 1, tzinfo=UTC)
        signs = tuple((("👍",) if one else ("👎",), None) for one in liked)
        return MemberFeedback(MemberId(self.n.to_bytes(16)), X, signs, (at,) * n)


def taught(told: list[MemberFeedback], *, capped: bool):
    settings = LearningSettings(device="cpu")
    lesson = teach(
        [thinned(member, DAY) for member in told] if capped else told,
        starter_prior(FEATURES, settings),
        EmojiValence(),
        settings,
        member_cap=rounds.PRIOR_MEMBER_CAP if capped else 1e9,
        n_embedding=N_EMBEDDING,
    )
    assert lesson is not None
    return lesson.prior.head()


def loss(head, strangers: list[MemberFeedback]) -> float:
    X = np.concatenate([one.X for one in strangers])
    liked = np.array([sign == (("👍",), None) for one in strangers for sign in one.signs])
    scores = head.score(X)
    return float(np.mean(np.logaddexp(0, scores) - liked * scores))


@pytest.fixture(scope="module")
def people():
    drawn = People()
    strangers = drawn.draw(200, 20)
    return drawn.draw(HONEST, DAY), drawn.draw(CONTRARY, 15 * DAY, contrary=True), strangers


def test_a_hostile_tenth_moves_the_priors_loss_by_less_than_a_point(people):
    honest, hostile, strangers = people

    without, with_them = (loss(taught(told, capped=True), strangers) for told in (honest, honest + hostile))

    assert without < 0.68  # the prior has learnt something that could be spoilt
    assert abs(with_them - without) < 0.01


def test_control_without_caps_the_same_tenth_moves_it_by_more(people):
    honest, hostile, strangers = people

    without, with_them = (loss(taught(told, capped=False), strangers) for told in (honest, honest + hostile))

    assert abs(with_them - without) > 0.01
