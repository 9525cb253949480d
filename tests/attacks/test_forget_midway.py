"""A member forgets while something of them is under way: nothing of it is kept.

Each way to keep something is run again and again. In each run the member forgets just before another step of
the store or the generator. In half of the runs the member agrees again at once. Afterwards the database and
the memory hold nothing that was made under the earlier consent.

Control: the store does not compare the key that a change was made under; then some of it is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import pytest

from bot.moderation.report_queue import Reason
from bot.replies.style_wishes import with_words
from storage.database.backend import Reader
from storage.database.writer import Writer
from storage.errors import NoConsent
from storage.records import Remark, Who
from storage.replies import feedback as feedback_statements
from tests.fakes import ScriptedGenerator
from tests.integration.conftest import World, opened
from tests.rig.size import sized

EVERY = sized(ci=2, full=1)
"""Every how many steps the member forgets."""

Act = Callable[[World, "Scene"], Awaitable[object]]


class Scene:
    """Alice's reply, Ben's reply, and the page of ``/style`` and ``/feedback``, from before an act."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.alice = Who(world.guild.id, world.alice.id)

    async def prepare(self) -> None:
        """Agree, and get two replies to Alice and one to Ben."""
        world = self.world
        await world.house.store.consent.record(self.alice)
        await world.house.store.consent.record(Who(world.guild.id, world.ben.id))
        await world.ask(world.ben)
        self.own = await world.ask(world.alice)
        self.own_id = await world.house.store.replies.of_message(self.own.id)

    async def kept(self) -> dict[str, object]:
        """Return what the store and the memory hold of Alice, besides a bare consent."""
        store, bot = self.world.house.store, self.world.bot
        found = await store.privacy.summary(self.alice)
        wish = await store.wishes.of(self.alice)
        paused = await store.pauses.is_paused(self.alice)
        caches = {
            "wish in memory": bot.responder.wishes._remembered,
            "comparison": bot.comparisons._by_member,
            "undecided reply": bot.responder.recorder._undecided._latest,
        }
        kept = {
            "replies": found.n_replies,
            "feedback": found.n_feedback,
            "choices": found.n_preferences,
            "remarks": found.n_remarks,
            "wish": wish,
            "paused": paused,
            **{name: self.alice in cache for name, cache in caches.items()},
        }
        return {name: value for name, value in kept.items() if value}


async def asks(world: World, scene: Scene) -> None:
    await world.ask(world.alice, "and now?")


async def wants_another(world: World, scene: Scene) -> None:
    await world.alice.context_menu(world.channel, "Another answer", scene.own)


async def compares(world: World, scene: Scene) -> None:
    await world.alice.slash(world.channel, "compare", message="which?")


async def compares_her_latest(world: World, scene: Scene) -> None:
    await world.alice.slash(world.channel, "compare")


async def wishes(world: World, scene: Scene) -> None:
    await world.alice.slash(world.channel, "style", words="like an old sailor")


async def rates(world: World, scene: Scene) -> None:
    await world.alice.slash(world.channel, "feedback", rating=5)


async def changes_a_wish(world: World, scene: Scene) -> None:
    await world.bot.responder.wishes.change(scene.alice, lambda before: with_words(before, "kindly"))


async def rates_the_latest(world: World, scene: Scene) -> None:
    who = await world.house.store.consent.bound(scene.alice)
    if who is not None:
        await world.house.store.feedback.record_rating(who, scene.own_id, 1)


async def remarks(world: World, scene: Scene) -> None:
    who = await world.house.store.consent.bound(scene.alice)
    if who is not None:
        await world.house.store.remarks.record(who, scene.own_id, Remark(("wrong",), "no"))


async def pauses(world: World, scene: Scene) -> None:
    who = await world.house.store.consent.bound(scene.alice)
    if who is not None:
        await world.house.store.pauses.pause(who)


async def reports(world: World, scene: Scene) -> None:
    await world.bot.reports.take(scene.alice, world.channel.id, scene.own.id, Reason.RUDE)


ACTS: list[Act] = [
    asks,
    wants_another,
    compares,
    compares_her_latest,
    wishes,
    changes_a_wish,
    rates,
    rates_the_latest,
    remarks,
    pauses,
    reports,
]


class Midway:
    """Lets Alice forget just before the n-th step of an act."""

    def __init__(self, scene: Scene, *, again: bool) -> None:
        self._scene, self._again = scene, again
        self._left: int | None = None

    def at(self, step: int) -> None:
        self._left = step

    @property
    def reached(self) -> bool:
        """Whether the step was reached; otherwise the act has no such step."""
        return self._left is None

    async def step(self) -> None:
        if self._left is None:
            return
        self._left -= 1
        if self._left >= 0:
            return
        self._left = None
        await self._scene.world.bot.privacy.forget(self._scene.alice.user_id)
        if self._again:
            await self._scene.world.house.store.consent.record(self._scene.alice)

    def wrap(self, kind: type, name: str, monkeypatch) -> None:
        """Count each call of this method as a step."""
        before = getattr(kind, name)

        async def counted(one, *args, **named):
            await self.step()
            return await before(one, *args, **named)

        monkeypatch.setattr(kind, name, counted)


async def kept_at_each_step(
    settings, act: Act, monkeypatch, *, again: bool, every: int = EVERY
) -> dict[int, dict[str, object]]:
    """Return what is kept, by the step before which Alice forgot.

    An act begins with its first step. Before it, the act is one of a member who has left already.
    """
    found: dict[int, dict[str, object]] = {}
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(opened(settings))
        scene = Scene(world)
        midway = Midway(scene, again=again)
        with monkeypatch.context() as patched:
            for kind, name in ((Reader, "run"), (Writer, "submit"), (ScriptedGenerator, "generate")):
                midway.wrap(kind, name, patched)
            for step in range(2, 60, every):
                await world.bot.privacy.forget(scene.alice.user_id)
                await scene.prepare()
                midway.at(step - 1)
                with suppress(NoConsent):  # the answer to a member who left
                    await act(world, scene)
                if not midway.reached:
                    break
                found[step] = await scene.kept()
            midway._left = None
    return found


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("act", ACTS)
async def test_nothing_is_kept_of_a_member_who_forgets_midway(settings, act, again, monkeypatch):
    found = await kept_at_each_step(settings, act, monkeypatch, again=again)

    assert {step: kept for step, kept in found.items() if kept} == {}


@pytest.mark.parametrize("act", [pauses, changes_a_wish])
async def test_control_without_comparing_the_key_it_is_kept(settings, act, monkeypatch):
    def without_key(connection, member_id, under=None):
        before(connection, member_id)

    before = feedback_statements.require_agreed
    for module in ("replies.feedback", "replies.remarks", "members.learning_pause", "members.wishes"):
        monkeypatch.setattr(f"storage.{module}.require_agreed", without_key)

    found = await kept_at_each_step(settings, act, monkeypatch, again=True, every=1)

    assert any(found.values())
