"""P47: no figure and no answer that others see tells what one member did.

Three checks. The first plays the strongest attacker of a published count: all other members are accounts of
the attacker, who knows the rule and chooses their number freely. The attacker compares the published figure
of many servers with and without the victim. The probabilities may differ only as much as the rule promises.
The second looks at ``/stats`` after each thing that a member can do, within one week. The third asks the bot
about a reply to a member who agreed and about one to a member who did not.

Controls: without the noise, the first attacker knows for certain. Without the freeze, the second sees change.
With an answer that depends on the stored reply, the third learns who agreed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest

from bot.servers import published
from bot.servers.published import BUCKETS, EPSILON, FEWEST, Frozen, about
from tests.integration.conftest import World
from tests.integration.conftest import settings as settings  # a fixture
from tests.integration.conftest import world as world  # a fixture
from tests.rig.figures import boss_of, looks, taught
from tests.rig.size import sized

pytestmark = pytest.mark.promise("P47")

N_SERVERS = sized(ci=4_000, full=200_000)
FLOOR = 0.004
"""Probability that five members are shown, though four never are."""

Publish = Callable[..., int | None]


def advantage(publish: Publish, own: int) -> float:
    """Return how much more often an attacker tells the two worlds apart than by guessing, at best: 0 to 1."""
    without, having = (
        Counter(publish(count, server.to_bytes(16), "rating", count) for server in range(N_SERVERS))
        for count in (own, own + 1)
    )
    return sum(abs(without[value] - having[value]) for value in without | having) / 2 / N_SERVERS


def attacked(publish: Publish) -> float:
    """Return the best advantage over all numbers of own accounts around each edge."""
    numbers = [FEWEST - 1, *(edge + by for edge in BUCKETS[:3] for by in (-12, -2, -1, 0, 11))]
    return max(advantage(publish, own) for own in numbers)


MOST = (math.exp(EPSILON) - 1) / (math.exp(EPSILON) + 1) + FLOOR
"""Best advantage that the privacy loss allows."""


def test_an_attacker_with_all_other_accounts_hardly_learns_whether_one_member_acted():
    error = 3 / math.sqrt(N_SERVERS)

    assert attacked(about) <= MOST + error


def test_control_without_noise_the_attacker_knows(monkeypatch):
    monkeypatch.setattr(published, "noise", lambda *_what: 0)

    assert attacked(about) == 1.0


async def seen_within_a_week(world: World) -> set[str]:
    """Return all answers of ``/stats`` while members rate, re-rate, join and leave at an edge."""
    boss = boss_of(world)
    members = await taught(world, FEWEST)
    seen = {(await looks(world, boss, weeks=1)).response.content}
    await world.agree(world.alice)  # a new member rates
    await world.alice.react(await world.ask(world.alice), "👎")
    await world.bot.inbox.wait_idle()
    seen.add((await looks(world, boss, weeks=1)).response.content)
    await members[0].react(await world.ask(members[0]), "👎")  # an old member rates again
    await world.bot.inbox.wait_idle()
    await world.house.trainer.run_round()
    seen.add((await looks(world, boss, weeks=1)).response.content)
    await world.bot.privacy.forget(members[1].id)
    seen.add((await looks(world, boss, weeks=1)).response.content)
    await world.bot.privacy.forget(world.alice.id)
    seen.add((await looks(world, boss, weeks=1)).response.content)
    return seen


@pytest.fixture
def at_an_edge(monkeypatch):
    """The worst case: no noise, and an edge at every number of members."""
    monkeypatch.setattr(published, "noise", lambda *_what: 0)
    monkeypatch.setattr(published, "BUCKETS", tuple(range(1, 30)))
    monkeypatch.setattr(published, "FEWEST", 1)


async def test_nothing_that_a_member_does_changes_a_figure_within_its_week(world, at_an_edge):
    (only,) = await seen_within_a_week(world)

    assert "about 5" in only


async def test_control_without_the_freeze_each_act_shows(world, at_an_edge, monkeypatch):
    async def read_anew(self, key, read):
        return await read(*published.period_of(self._now(), self._length))

    monkeypatch.setattr(Frozen, "of", read_anew)

    assert len(await seen_within_a_week(world)) > 1


async def told_to_ben(world: World) -> set[str]:
    """Return what Ben is told about replies to Alice before and after she agreed, and about her message."""
    replies = [await world.ask(world.alice)]
    await world.agree(world.alice)
    replies += [await world.ask(world.alice), await world.alice.send(world.channel, "just talk")]
    shown = [await world.ben.context_menu(world.channel, "Why this reply?", reply) for reply in replies]
    return {one.response.content for one in shown}


async def test_the_reason_of_somebody_elses_reply_is_refused_in_the_same_words(world):
    assert len(await told_to_ben(world)) == 1


async def test_control_an_answer_that_depends_on_the_stored_reply_tells_consent(world, monkeypatch):
    from bot.cogs.members.insight import Insight

    async def explain(self, interaction, reply_id):
        await interaction.followup.send("not stored" if reply_id is None else "not yours", ephemeral=True)

    monkeypatch.setattr(Insight, "_explain", explain)

    assert len(await told_to_ben(world)) == 2
