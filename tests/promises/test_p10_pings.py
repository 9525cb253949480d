"""P10: the bot never pings anyone it was not asked to.

The language model answers with @everyone, roles, ids, invisible characters and code spans. Members then use
every command, menu and button of the bot. Every request that carries text (sends, edits, interaction
responses and follow-ups) must set ``allowed_mentions`` with nothing to parse. The test fails if a command is
registered that it does not use.

Control: with a client that allows mentions, and sends that do not override it, the same check finds pings.
"""

from __future__ import annotations

import contextlib
from typing import Any

import discord
import pytest
import simcord

from bot.messages import posting
from tests.integration.conftest import World

pytestmark = pytest.mark.promise("P10")

HOSTILE = (
    "@everyone and @here, look!",
    "<@&{role}> <@{user}> <@!{user}> come quick",
    "@\u200beveryone @every\u00adone <@\u200b{user}> \u202eenoyreve@",
    "`<@{user}>` ```\n@everyone <@&{role}>\n```",
    "||@everyone|| [<@{user}>](https://example.org) # @here",
    "@everyone " * 500,
)
SAYING = {"content", "embeds", "components"}


def words_of(entry) -> list[dict]:
    """Return the bodies of a request that carry text or buttons."""
    body = entry.json if isinstance(entry.json, dict) else {}
    if body.get("type") == discord.InteractionResponseType.modal.value:  # a form is not a message
        return []
    bodies = [body, body.get("data") if isinstance(body.get("data"), dict) else {}]
    return [one for one in bodies if SAYING & one.keys()]


def may_ping(entry) -> bool:
    return any(
        (one.get("allowed_mentions") or {"parse": ["all"]}).get("parse") != []
        or any((one.get("allowed_mentions") or {}).get(who) for who in ("users", "roles", "replied_user"))
        for one in words_of(entry)
    )


def buttons(components: list[dict]) -> list[str]:
    """Collect the custom ids of all buttons, at any depth."""
    found = [one["custom_id"] for one in components if one.get("type") == 2 and one.get("custom_id")]
    return found + [id_ for one in components for id_ in buttons(one.get("components") or [])]


async def pressed(member, shown, used: set[str], *, last: bool = False) -> None:
    """Press every button of an answer and of the answers to it, once; final buttons only if ``last``."""
    for message in (shown.response, *shown.followups):
        for custom_id in buttons(message.components) if message is not None else ():
            final = any(word in custom_id for word in (":stop", ":forget", ":refuse"))
            if custom_id in used or (final and not last) or custom_id not in buttons(message.components):
                continue
            used.add(custom_id)
            await pressed(member, await member.click(message, custom_id=custom_id), used, last=last)


def commands_of(bot) -> dict[str, bool]:
    """Map the full name of every command and menu to whether it is a menu; pause comes before resume."""
    both = [*bot.tree.walk_commands(), *bot.tree.walk_commands(type=discord.AppCommandType.message)]
    return {
        one.qualified_name: isinstance(one, discord.app_commands.ContextMenu)
        for one in both
        if not isinstance(one, discord.app_commands.Group)
    }


def options_of(name: str, world: World) -> dict[str, Any]:
    """Return the options of commands that require some."""
    hostile: dict[str, dict[str, Any]] = {
        "config set persona": {"text": "@everyone"},
        "config set model": {"name": "@everyone"},
        "config set chat-channel": {"channel": world.channel, "answer_all": False},
        "config set reactions": {"emoji": "@everyone"},
        "config set emoji": {"emoji": "@everyone", "means": "like"},
        "config set access": {"rule": "neither", "member": world.ben},
        "config set limit": {"per": "member", "messages": 0},
        "config reset": {"what": "limits"},
        "faq edit": {"entry": "1"},
        "faq remove": {"entry": "1"},
        "safety level": {"level": "standard"},
    }
    return hostile.get(name, {})


async def walk(world: World) -> set[str]:
    """Use every command, menu and button; return the names of the commands used."""
    used: set[str] = set()
    ran = {"forget-me"}
    role = world.guild.create_role("everybody")
    for text in HOSTILE:
        world.generator.enqueue(text.format(role=role.id, user=world.ben.id))
        await world.ask(world.alice, "hello @everyone")
    reply = world.channel.last_message
    await world.alice.send(world.channel, f"<@{world.bot.me}>")  # gets a note, because the prompt is empty
    world.generator.enqueue("@everyone")
    await world.agree(world.alice)
    await world.ask(world.alice)
    reply = world.channel.last_message
    manager = world.guild.create_role("manager", permissions=discord.Permissions.all())
    boss = world.guild.add_member(world.env.create_user("boss"), roles=[manager])
    world.bot.owner_id = boss.id
    for name, is_menu in commands_of(world.bot).items():
        if name == "forget-me":
            continue
        for member in (boss, world.alice, world.ben):
            with contextlib.suppress(simcord.SetupError):  # Discord does not show this command to this member
                if is_menu:
                    shown = await member.context_menu(world.channel, name, reply)
                else:
                    shown = await member.slash(world.channel, name, **options_of(name, world))
                ran.add(name)
                await pressed(member, shown, used)
    await world.alice.slash(world.channel, "feedback", rating=4)
    for name in ("privacy", "forget-me"):
        await pressed(world.ben, await world.ben.slash(world.channel, name), used, last=True)
        await pressed(world.alice, await world.alice.slash(world.channel, name), used, last=True)
    assert len(used) > 5
    return ran


async def test_no_send_and_no_edit_may_ping(world):
    used = await walk(world)

    requests = [entry for entry in world.env.backend.http_requests if words_of(entry)]
    assert used == {*commands_of(world.bot)}
    assert {entry.method for entry in requests} >= {"POST", "PATCH"}
    assert len(requests) > 30
    assert [(entry.method, entry.path, entry.json) for entry in requests if may_ping(entry)] == []


async def test_control_a_client_that_allows_mentions_is_found_out(world, monkeypatch):
    world.bot._connection.allowed_mentions = discord.AllowedMentions.all()
    monkeypatch.setattr(posting, "SILENT", discord.AllowedMentions.all())

    await walk(world)

    assert any(may_ping(entry) for entry in world.env.backend.http_requests)
