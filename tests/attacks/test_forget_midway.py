"""A member forgets while something of them is under way: nothing of it is kept.

Each way to keep something is run again and again. In each run the member forgets just before another step of
the store or the generator. In half of the runs the member agrees again at once. Afterwards the database and
the memory hold nothing that was made under the earlier consent.

Control: the store does not compare the key that a change was made under; then some of it is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import pytest
import simcord

from bot.app.playground import _Detached
from bot.moderation.report_queue import Reason
from bot.replies.style_wishes import with_words
from storage.database.backend import Reader
from storage.database.writer import Writer
from storage.errors import NoConsent
from storage.members import consent
from storage.records import Remark, Who
from tests.fakes import ScriptedGenerator
from tests.integration.conftest import World, opened
from tests.rig.newest import newest
from tests.rig.size import sized

EVERY = sized(ci=3, full=1)
"""Every how many steps the member forgets."""

Act = Callable[[World, "Scene"], Awaitable[object]]


class Scene:
    """Alice's reply, Ben's reply, and what is shown to Alice, from before an act.

    Attributes:
        between: Awaited between two pieces of a long answer.
        shown: What the act presses.
    """

    shown: simcord.InteractionResult

    def __init__(self, world: World) -> None:
        self.world = world
        self.between: Callable[[], Awaitable[object]]
        self.alice = Who(world.guild.id, world.alice.id)

    async def prepare(self, act: Act) -> None:
        """Agree, get two replies to Alice and one to Ben, and open what the act presses."""
        world = self.world
        await world.house.store.consent.record(self.alice)
        await world.house.store.consent.record(Who(world.guild.id, world.ben.id))
        self.bens = await self.asks(world.ben)
        self.own = await self.asks(world.alice)
        self.bens_id = await world.house.store.replies.of_message(self.bens.id)
        if act in PREPARED:
            await PREPARED[act](world, self)

    async def asks(self, who: simcord.MemberActor, text: str = "hello"):
        """Ask the bot, and return its whole answer."""
        await self.world.ask(who, text)
        await self.world.bot.queues.wait_idle()
        return newest(self.world.channel)

    async def kept(self) -> dict[str, object]:
        """Return what the store and the memory hold of Alice; her consent alone does not count."""
        store, bot = self.world.house.store, self.world.bot
        found = await store.privacy.summary(self.alice)
        feedback = await store.feedback.summary(self.alice)
        wish = await store.wishes.of(self.alice)
        paused = await store.pauses.is_paused(self.alice)
        caches = {
            "wish in memory": bot.responder.wishes._remembered,
            "comparison": bot.comparisons._by_member,
            "undecided reply": bot.responder.recorder._undecided._latest,
            "draft": bot.responder.drafts._by_member,
        }
        kept = {
            "replies": found.n_replies,
            "feedback": found.n_feedback,
            "choices": found.n_preferences,
            "remarks": found.n_remarks,
            "stars": [one.rating for one in feedback.latest if one.rating],
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


async def asks_for_a_long_answer(world: World, scene: Scene) -> None:
    """The answer grows; the member may forget between two of its pieces."""
    world.generator.unfinished.append((" And more.", scene.between, " And more, again.", scene.between))
    await scene.asks(world.alice, "and at length?")


async def opens_a_comparison(world: World, scene: Scene) -> None:
    scene.shown = await world.alice.slash(world.channel, "compare")


async def picks(world: World, scene: Scene) -> None:
    await world.alice.click(scene.shown.response, label="A")


async def opens_the_taps(world: World, scene: Scene) -> None:
    style = await world.alice.slash(world.channel, "style")
    scene.shown = await world.alice.click(style.response, label="Show me in six taps")


async def taps(world: World, scene: Scene) -> None:
    await world.alice.click(scene.shown.response, label="A")


async def opens_the_panel(world: World, scene: Scene) -> None:
    await world.alice.react(scene.own, "👎")
    scene.shown = await world.alice.slash(world.channel, "feedback")


async def presses_a_star(world: World, scene: Scene) -> None:
    await world.alice.click(scene.shown.response, label="★★★★★")


async def opens_the_form(world: World, scene: Scene) -> None:
    await opens_the_panel(world, scene)
    scene.shown = await world.alice.click(scene.shown.response, label="Tell me what was wrong")


async def sends_the_form(world: World, scene: Scene) -> None:
    parts = [row["component"] for row in scene.shown.modal["components"]]
    reasons, words = ([one["custom_id"] for one in parts if one["type"] == kind] for kind in (3, 4))
    await world.alice.submit_modal(scene.shown, {reasons[0]: ["tone"], words[0]: "less of that"})


async def rates(world: World, scene: Scene) -> None:
    await world.alice.slash(world.channel, "feedback", rating=5)


async def changes_a_wish(world: World, scene: Scene) -> None:
    await world.bot.responder.wishes.change(scene.alice, lambda before: with_words(before, "kindly"))


async def rates_bens(world: World, scene: Scene) -> None:
    who = await world.house.store.consent.bound(scene.alice)
    if who is not None:
        await world.house.store.feedback.record_rating(who, scene.bens_id, 1)


async def remarks(world: World, scene: Scene) -> None:
    who = await world.house.store.consent.bound(scene.alice)
    if who is not None:
        await world.house.store.remarks.record(who, scene.bens_id, Remark(("wrong",), "no"))


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
    rates_bens,
    remarks,
    pauses,
    reports,
    asks_for_a_long_answer,
    picks,
    taps,
    presses_a_star,
    sends_the_form,
]
PREPARED: dict[Act, Act] = {
    picks: opens_a_comparison,
    taps: opens_the_taps,
    presses_a_star: opens_the_panel,
    sends_the_form: opens_the_form,
}
"""Acts that press what another act has opened."""
WAITING = {
    wants_another,
    compares,
    compares_her_latest,
    wishes,
    rates,
    picks,
    taps,
    presses_a_star,
    sends_the_form,
}
"""Acts of which it is known when they came, so they may also wait before their first step."""


async def forgets(scene: Scene) -> None:
    await scene.world.bot.privacy.forget(scene.alice.user_id)


async def forgets_and_agrees(scene: Scene) -> None:
    await forgets(scene)
    await scene.world.house.store.consent.record(scene.alice)


class Midway:
    """Lets Alice decide otherwise just before the n-th step of an act."""

    def __init__(self, scene: Scene, decide: Callable[[Scene], Awaitable[None]]) -> None:
        self._scene, self._decide = scene, decide
        self._left: int | None = None
        self.decision: asyncio.Future[None]

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
        self.decision = asyncio.ensure_future(self._decide(self._scene))
        await asyncio.shield(self.decision)  # the act may be cancelled by it; the decision is not

    def wrap(self, monkeypatch) -> None:
        """Count each query, each change and each answer of the generator as a step."""
        for kind, name in ((Reader, "run"), (Writer, "submit"), (ScriptedGenerator, "generate")):
            monkeypatch.setattr(kind, name, self._counted(getattr(kind, name)))

    def _counted(self, before):
        async def counted(one, *args, **named):
            await self.step()
            return await before(one, *args, **named)

        return counted


async def kept_at_each_step(
    settings, act: Act, monkeypatch, *, again: bool, every: int = EVERY
) -> dict[int, dict[str, object]]:
    """Return what is kept, by the step before which Alice forgot.

    Other acts than :data:`WAITING` begin with their first step. Before it, they are of a member who has left.
    """
    found: dict[int, dict[str, object]] = {}
    async with AsyncExitStack() as stack:
        home = await stack.enter_async_context(_Detached())
        spawn = home.spawn if act is asks_for_a_long_answer else asyncio.create_task
        world = await stack.enter_async_context(opened(settings, spawn=spawn))
        world.bot.streams.every_s = 0.001
        scene = Scene(world)
        midway = Midway(scene, forgets_and_agrees if again else forgets)
        scene.between = midway.step
        with monkeypatch.context() as patched:
            midway.wrap(patched)
            for step in range(1 if act in WAITING else 2, 60, every):
                await world.bot.privacy.forget(scene.alice.user_id)
                await scene.prepare(act)
                before = await scene.kept()
                midway.at(step - 1)
                with suppress(NoConsent):  # the answer to a member who left
                    await act(world, scene)
                if not midway.reached:
                    assert act is reports or await scene.kept() != before, "the act keeps nothing at all"
                    break
                await midway.decision
                found[step] = await scene.kept()
            midway._left = None
    return found


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("act", ACTS)
async def test_nothing_is_kept_of_a_member_who_forgets_midway(settings, act, again, monkeypatch):
    found = await kept_at_each_step(settings, act, monkeypatch, again=again)

    assert {step: kept for step, kept in found.items() if kept} == {}


@pytest.mark.parametrize("act", [rates_bens, remarks, pauses, changes_a_wish])
async def test_control_without_comparing_the_key_it_is_kept(settings, act, monkeypatch):
    def without_key(connection, member_id, under=None):
        before(connection, member_id)

    before = consent.require_agreed
    monkeypatch.setattr(consent, "require_agreed", without_key)

    found = await kept_at_each_step(settings, act, monkeypatch, again=True, every=1)

    assert any(found.values())
