"""P7: after any outage the labels equal what Discord shows.

Members act at random on replies in two channels: they add, remove and clear reactions (normal and super),
clear one emoji, and delete messages. One of them never agreed. Between the acts there are three kinds of
outage: one that ends in a resume, one that ends in a new session, and a restart of the bot. Acts continue
while the bot reads back, before and after each answer of Discord. Once the bot is idle, the stored reactions
of each member equal those that Discord shows, and nothing is stored of the member who never agreed.

Control: with reconciliation off, the same schedule ends with different labels.
"""

from __future__ import annotations

import random

import pytest

from storage.records import Who
from tests.rig.outages import Twin, twin
from tests.rig.schedules import Truth, acts
from tests.rig.size import sized
from tests.rig.standing import reactions_of, standing_in

pytestmark = pytest.mark.promise("P7")

N_SCHEDULES = sized(ci=3, full=100)
N_OUTAGES = sized(ci=6, full=30)
N_REPLIES = 6


class Play:
    """A schedule in progress."""

    def __init__(self, here: Twin, seed: int) -> None:
        self.rng = random.Random(seed)
        self.here = here
        self.acts = acts(self.rng, here.api.truth, [member.id for member in here.people])

    def some(self, most: int) -> None:
        for _ in range(self.rng.randint(0, most)):
            if (act := next(self.acts, None)) is not None:
                self.here.happen(act)

    def now_and_then(self, _n_asked: int) -> None:
        if self.here.online and self.rng.random() < 0.2:
            self.some(2)

    async def outage(self) -> None:
        self.some(15)
        kind = self.rng.choice(("resume", "new session", "restart"))
        if kind == "restart":
            await self.here.stop()
            self.some(25)
            await self.here.start()
        else:
            self.here.online = False
            self.some(25)
            await (self.here.resumed(self.rng.randint(0, 5)) if kind == "resume" else self.here.new_session())


async def with_replies(here: Twin) -> None:
    for number in range(N_REPLIES):
        channel = here.channels[number % 2]
        await here.people[number % 2].send(channel, f"<@{here.bot.me}> hello")
        here.api.truth.standing[channel.last_message.id] = set()
        await here.people[-1].send(channel, "something in between")


async def as_discord_shows(here: Twin) -> bool:
    truth: Truth = here.api.truth
    store = here.house.store
    ids = [id_ for channel in here.channels for id_ in here.env.backend.messages[channel.id]]
    for member in here.people[:-1]:
        stored = await standing_in(store, Who(here.guild.id, member.id), ids)
        if stored != reactions_of(truth, member.id):
            return False
    stranger = here.people[-1]
    return await standing_in(store, Who(here.guild.id, stranger.id), ids) == {}


@pytest.mark.parametrize("seed", range(N_SCHEDULES))
async def test_after_each_outage_what_is_stored_is_what_discord_shows(settings, seed):
    async with twin(settings) as here:
        await with_replies(here)
        play = Play(here, seed)
        here.api.before = here.api.after = play.now_and_then

        for outage in range(N_OUTAGES):
            await play.outage()
            assert await as_discord_shows(here), f"after outage {outage}"

        replies = [await here.house.store.replies.of_message(id_) for id_ in here.api.truth.standing]
        assert None not in replies
        for message_id in here.api.deleted:
            assert await here.house.store.replies.of_message(message_id) is None


async def test_control_without_reading_back_the_labels_are_others(settings):
    async with twin(settings, reconciles=False) as here:
        await with_replies(here)
        play = Play(here, 0)
        same = []

        for _ in range(4):
            here.online = False
            play.some(40)
            await here.new_session()
            same.append(await as_discord_shows(here))

        assert not all(same)
