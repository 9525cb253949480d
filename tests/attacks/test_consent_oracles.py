"""A member with every right of a manager tries to find out whether another member agreed to learning.

Alice asks twice in public. Before or after, she decides in private: she agrees, pauses, withdraws or forgets.
The manager then does everything that the bot offers on her replies and to managers: every message menu, every
button and form in their answers, reactions, forged buttons and every command without required options. His
acts are recorded if Alice agreed. Whatever she decided, all that the manager and the channel see must be the
same, sign by sign, except for ids and times.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple

import discord
import pytest
from discord import app_commands
from simcord.actors import _component_interaction

from bot.servers import published
from storage.records import ReplyId, Who
from storage.replies import summaries
from storage.replies.impressions import require_visible
from tests.integration.conftest import World, opened, shapeless
from tests.integration.conftest import settings as settings  # a fixture
from tests.integration.test_panel import input_id, labels_of, select_id
from tests.rig.figures import boss_of
from tests.rig.size import sized

Decide = Callable[[World, Who], Awaitable[object]]


class Looked(NamedTuple):
    """Everything that was seen, by act, and the replies on which the manager's feedback is recorded."""

    seen: dict[str, object]
    n_recorded: int


FORGED = (
    "simpatico:rate:{reply}:5",
    "simpatico:remark:{reply}",
    "simpatico:unremark:{reply}",
    "simpatico:rate:m{message}:1",
    "simpatico:unremark:m{message}",
    "simpatico:learning:resume:{reply}",
)
NOT_USED = {"forget-me", "my-data"}
"""Commands that are left out: one would end the manager's own consent, the other is a stated limit."""

# The stated limit of P47: counts of a member's own data, and what is learnt from it, include acts on replies
# to others.
DRIFT = re.compile(
    r"(?s)(They were about|\*\*What spoke|I do not know your taste|My picture of your taste).*|\*\w+\* style"
    r"|(?<=What I recorded about you here:).*|(?<=I keep my replies to you).*"
)


def masked(text: object) -> str:
    """Return a text without ids, times and random tokens, which differ from run to run anyway."""
    text = re.sub(r"pick:[0-9a-f]{8}|[0-9a-f]{32}", "#", DRIFT.sub("", str(text)))
    return re.sub(r"\d{10,}|\d\d:\d\d(:\d\d)?(\.\d+)?|0x[0-9a-f]+", "#", text)


def face_of(message: Any) -> tuple[str, ...]:
    """Return everything that a member sees of a message; which candidate is A or B in a pair is drawn."""
    embeds = sorted(str(embed.description) for embed in message.embeds)
    files = [(file.filename, file.description) for file in message.attachments]
    parts = [getattr(part, "to_dict", lambda part=part: part)() for part in message.components]
    return tuple(map(masked, (message.content, embeds, files, parts, message.flags.value)))


def shown_by(result: Any) -> list[object]:
    """Return everything that an interaction shows to its member."""
    answers = [*([] if result.response is None else [result.response]), *result.followups]
    return [masked(result.modal), *map(face_of, answers)]


async def nothing(world: World, who: Who) -> None:
    """Never decide."""


async def agrees(world: World, who: Who) -> None:
    assert await world.bot.privacy.agree(world.bot.privacy.begin(who), None)


async def pauses(world: World, who: Who) -> None:
    await agrees(world, who)
    bound = await world.house.store.consent.bound(who)
    assert bound is not None
    await world.house.store.pauses.pause(bound)


async def refuses(world: World, who: Who) -> None:
    await world.bot.privacy.refuse(who)


async def withdraws(world: World, who: Who) -> None:
    await agrees(world, who)
    await refuses(world, who)


async def forgets(world: World, who: Who) -> None:
    await agrees(world, who)
    await world.bot.privacy.forget(who.user_id)


STATES: dict[str, tuple[Decide, Decide]] = {
    "paused": (pauses, nothing),
    "withdrew before": (withdraws, nothing),
    "agreed, then forgot": (agrees, forgets),
    "agreed": (agrees, nothing),
    "refused": (refuses, nothing),
    "forgot before": (forgets, nothing),
    "agreed, then withdrew": (agrees, refuses),
    "agreed afterwards": (nothing, agrees),
}


async def attempts(world: World, spy, replies: list) -> dict[str, object]:
    """Let the manager do everything once; return what each act shows."""
    seen: dict[str, object] = {}
    commands = list(world.bot.tree.walk_commands(type=discord.AppCommandType.message))
    for number, reply in enumerate(replies):
        for menu in commands:
            found = await spy.context_menu(world.channel, menu.name, reply)
            seen[f"{menu.name} on reply {number}"] = shown_by(found)
            if menu.name == "Report this reply":
                seen[f"report of reply {number}"] = shown_by(await spy.select(found.response, ["rude"]))
            if menu.name == "Rate this reply":
                seen |= {f"{act} on reply {number}": what for act, what in (await rates(spy, found)).items()}
        for emoji in ("👍", "👎"):
            await spy.react(reply, emoji)
        await world.bot.inbox.wait_idle()
        stored = world.env.backend.get_message(world.channel.id, reply.id)
        reply_id = await world.house.store.replies.of_message(reply.id) or ReplyId(1)
        kept = stored.components
        for forged in FORGED:
            item = {
                "type": 2,
                "style": 2,
                "label": "x",
                "custom_id": forged.format(reply=reply_id, message=reply.id),
            }
            stored.components = [{"type": 1, "components": [item]}]
            pressed = await _component_interaction(
                spy, stored, {"custom_id": item["custom_id"], "component_type": 2}
            )
            seen[f"{forged} on reply {number}"] = shown_by(pressed)
        stored.components = kept
    await world.ask(spy)  # an erasure blanks the candidates of everybody's earlier replies
    for command in world.bot.tree.walk_commands():
        name = command.qualified_name
        if isinstance(command, app_commands.Group) or name.split()[0] in {"admin", *NOT_USED}:
            continue
        if not any(option.required for option in command.parameters):
            seen[f"/{name}"] = shown_by(await spy.slash(world.channel, name))
    await world.house.trainer.run_round()
    for name in ("feedback", "privacy", "why"):
        seen[f"/{name} after a round"] = shown_by(await spy.slash(world.channel, name))
    return seen


async def rates(spy, found: Any) -> dict[str, object]:
    """Press every button under the answer to *Rate this reply*; return what each shows."""
    seen: dict[str, object] = {}
    for label in ("Undo", "★", "★★★★★"):
        if label in labels_of(found.response):
            seen[f"press of {label}"] = shown_by(await spy.click(found.response, label=label))
            seen[f"after press of {label}"] = face_of(found.response)
    for undone in (True, False):
        if "Tell me what was wrong" not in labels_of(found.response):
            break
        form = await spy.click(found.response, label="Tell me what was wrong")
        fields = {select_id(form.modal): ["tone"], input_id(form.modal): "less of that"}
        told = await spy.submit_modal(form, fields)
        seen[f"remark {undone}"] = shown_by(told)
        if undone:
            seen["remark undone"] = shown_by(await spy.click(told.response, label="Undo"))
            seen["after remark undone"] = face_of(told.response)
    return seen


def channel_of(world: World) -> list[object]:
    """Return what everybody in the channel sees."""
    return [
        (*face_of(message), sorted((str(one.emoji), one.count) for one in message.reactions))
        for message in world.channel.history()
        if not message.flags.ephemeral
    ]


async def seen_by_a_manager(settings, decides: tuple[Decide, Decide]) -> Looked:
    """Play the scenario with Alice's two decisions; return everything that was seen and recorded."""
    async with opened(settings) as world:
        spy = boss_of(world)
        await world.agree(spy)
        alice = Who(world.guild.id, world.alice.id)
        await spy.react(await world.ask(spy), "👍")
        replies = [await world.ask(world.alice, "first")]
        await decides[0](world, alice)
        replies.append(await world.ask(world.alice, "second"))
        seen = {f"before: {act}": what for act, what in (await attempts(world, spy, replies)).items()}
        spy_id = world.house.store.member_id(Who(world.guild.id, spy.id))
        n_recorded = (await world.house.store.learning.feedback_counts([spy_id]))[spy_id]
        await decides[1](world, alice)
        seen |= {f"after: {act}": what for act, what in (await attempts(world, spy, replies)).items()}
        await world.ask(world.alice, "third")
        return Looked(seen | {"channel": channel_of(world)}, n_recorded)


def differences(one: Looked, other: Looked) -> dict[str, tuple[object, object]]:
    """Return the acts that show something else."""
    pairs = {act: (one.seen.get(act), other.seen.get(act)) for act in one.seen.keys() | other.seen.keys()}
    return {act: pair for act, pair in pairs.items() if pair[0] != pair[1]}


@pytest.fixture
def looks(settings, monkeypatch, tmp_path):
    """Play the scenario in a folder of its own; the noise of published figures is off.

    Styles have no shape: which styles a manager's own candidates get follows replies to members who agreed
    (``docs/privacy.md``), and a shape would show the style of a scripted text.
    """
    monkeypatch.setattr(published, "noise", lambda *_what: 0)

    async def look(name: str, decides: tuple[Decide, Decide]) -> Looked:
        folder = tmp_path / name.replace(" ", "-")
        storage = replace(settings.storage, data_dir=folder / "data", key_dir=folder / "keys")
        return await seen_by_a_manager(shapeless(replace(settings, storage=storage)), decides)

    return look


async def test_nothing_that_a_manager_sees_tells_what_a_member_decided(looks):
    unasked = await looks("never decided", (nothing, nothing))

    recorded: dict[str, int] = {}
    for name, decides in list(STATES.items())[: sized(ci=3, full=len(STATES))]:
        found = await looks(name, decides)
        assert differences(unasked, found) == {}, name
        recorded[name] = found.n_recorded
    assert len(unasked.seen) > 80
    assert recorded["agreed, then forgot"] == unasked.n_recorded + 1  # else nothing was there to be told


async def test_control_without_the_rule_for_what_is_shown_the_manager_sees_it(looks, monkeypatch):
    monkeypatch.setattr(summaries, "require_own", require_visible)

    found = differences(
        await looks("never decided", (nothing, nothing)), await looks("agreed", STATES["agreed"])
    )

    assert "before: Rate this reply on reply 1" in found
