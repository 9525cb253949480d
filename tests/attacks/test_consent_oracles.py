"""A member with every right of a manager tries to find out whether another member agreed to learning.

Alice asks twice in public. Before or after, she decides in private: she agrees, pauses, withdraws or forgets.
The manager then does everything that the bot offers on her replies and to managers: every message menu,
reactions, forged buttons and every command without required options. Whatever Alice decided, all that the
manager and the channel see must be the same, sign by sign, except for ids and times.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import discord
import pytest
from discord import app_commands
from simcord.actors import _component_interaction

from bot.servers import published
from storage.records import ReplyId, Who
from storage.replies.feedback_store import FeedbackStore
from tests.integration.conftest import World, opened
from tests.integration.conftest import settings as settings  # a fixture
from tests.rig.figures import boss_of
from tests.rig.size import sized

Decide = Callable[[World, Who], Awaitable[object]]

FORGED = ("simpatico:rate:{reply}:5", "simpatico:remark:{reply}", "simpatico:learning:resume:{reply}")
ENDS_IT = {"forget-me"}
"""Commands that would end the manager's own consent."""


def masked(text: object) -> str:
    """Return a text without ids, times and random tokens, which differ from run to run anyway."""
    text = re.sub(r"pick:[0-9a-f]{8}|[0-9a-f]{32}", "#", str(text))
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
    await world.bot.privacy.agree(who, None)


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
        for emoji in ("👍", "👎"):
            await spy.react(reply, emoji)
        await world.bot.inbox.wait_idle()
        stored = world.env.backend.get_message(world.channel.id, reply.id)
        reply_id = await world.house.store.replies.of_message(reply.id) or ReplyId(1)
        kept = stored.components
        for forged in FORGED:
            item = {"type": 2, "style": 2, "label": "x", "custom_id": forged.format(reply=reply_id)}
            stored.components = [{"type": 1, "components": [item]}]
            pressed = await _component_interaction(
                spy, stored, {"custom_id": item["custom_id"], "component_type": 2}
            )
            seen[f"{forged} on reply {number}"] = shown_by(pressed)
        stored.components = kept
    await world.ask(spy)  # an erasure blanks the candidates of everybody's earlier replies
    for command in world.bot.tree.walk_commands():
        name = command.qualified_name
        if isinstance(command, app_commands.Group) or name.split()[0] in {"admin", *ENDS_IT}:
            continue
        if not any(option.required for option in command.parameters):
            seen[f"/{name}"] = shown_by(await spy.slash(world.channel, name))
    await world.house.trainer.run_round()
    exported = await world.house.store.privacy.export(Who(world.guild.id, spy.id))
    seen["own data"] = masked([sorted(rows.items()) for _, rows in exported])
    seen["taste"] = masked(
        await world.bot.taste.taste(world.house.store.member_id(Who(world.guild.id, spy.id)))
    )
    return seen


def channel_of(world: World) -> list[object]:
    """Return what everybody in the channel sees."""
    return [
        (*face_of(message), sorted((str(one.emoji), one.count) for one in message.reactions))
        for message in world.channel.history()
        if not message.flags.ephemeral
    ]


async def seen_by_a_manager(settings, decides: tuple[Decide, Decide]) -> dict[str, object]:
    """Play the scenario with Alice's two decisions; return everything that was seen, by act."""
    async with opened(settings) as world:
        spy = boss_of(world)
        await world.agree(spy)
        alice = Who(world.guild.id, world.alice.id)
        await world.ask(spy)
        replies = [await world.ask(world.alice, "first")]
        await decides[0](world, alice)
        replies.append(await world.ask(world.alice, "second"))
        seen = {f"before: {act}": what for act, what in (await attempts(world, spy, replies)).items()}
        await decides[1](world, alice)
        seen |= {f"after: {act}": what for act, what in (await attempts(world, spy, replies)).items()}
        await world.ask(world.alice, "third")
        return seen | {"channel": channel_of(world)}


def differences(one: dict[str, object], other: dict[str, object]) -> dict[str, tuple[object, object]]:
    """Return the acts that show something else."""
    assert one.keys() == other.keys()
    return {act: (one[act], other[act]) for act in one if one[act] != other[act]}


@pytest.fixture
def looks(settings, monkeypatch, tmp_path):
    """Play the scenario in a folder of its own; the noise of published figures is off."""
    monkeypatch.setattr(published, "noise", lambda *_what: 0)

    async def look(name: str, decides: tuple[Decide, Decide]) -> dict[str, object]:
        folder = tmp_path / name.replace(" ", "-")
        storage = replace(settings.storage, data_dir=folder / "data", key_dir=folder / "keys")
        return await seen_by_a_manager(replace(settings, storage=storage), decides)

    return look


async def test_nothing_that_a_manager_sees_tells_what_a_member_decided(looks):
    unasked = await looks("never decided", (nothing, nothing))

    for name, decides in list(STATES.items())[: sized(ci=3, full=len(STATES))]:
        assert differences(unasked, await looks(name, decides)) == {}, name
    assert len(unasked) > 40


async def test_control_with_acts_on_replies_to_others_recorded_the_manager_sees_it(looks, monkeypatch):
    everything = FeedbackStore.record_events
    monkeypatch.setattr(
        FeedbackStore, "record_events", lambda self, happened, own: everything(self, happened)
    )

    found = differences(
        await looks("never decided", (nothing, nothing)), await looks("agreed", STATES["agreed"])
    )

    assert {"before: own data", "before: /feedback"} <= found.keys()
