"""Uses everything that the bot shows to a member: commands, menus, buttons, selects and forms.

Nothing is listed by hand. Commands come from the tree, and whatever an answer shows is used next, each with
texts as long as Discord allows. New commands and buttons are used without a change here.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import discord
import simcord
from discord import AppCommandOptionType, app_commands

LONGEST = 6000
"""Most characters of an option without a limit of its own."""
_BUTTON, _SELECT, _TEXT = 2, 3, 4
_LAST = re.compile(r"forget|withdraw|over|delete|refuse|reset|access")
"""Acts that delete data or close the bot to members; they come last."""


@dataclass(frozen=True)
class Use:
    """One act, named so that each kind of button is used once."""

    name: str
    act: Callable[[], Awaitable[Any]]


def hostile(most: int | None) -> str:
    """Return a text of the greatest length, of pieces that make matching slow."""
    most = LONGEST if most is None else most
    return ("i!`[a](http://a\u200b/ <@1> " * (most // 20 + 1))[:most]


def commands_of(world, member, message) -> Iterator[Use]:
    """Yield a use of each command and message menu that the member may use, and of each autocompletion."""
    seen = set(member.available_commands(world.channel))
    for command in world.bot.tree.walk_commands():
        if not isinstance(command, app_commands.Command) or command.qualified_name not in seen:
            continue
        name = command.qualified_name
        if name.startswith("admin"):  # for the host alone
            continue
        for options in _options_of(world, command):
            yield Use(
                f"/{name} {' '.join(map(str, options))}".strip(),
                partial(member.slash, world.channel, name, **options),
            )
        for option in command.parameters:
            if option.autocomplete:
                typed = partial(member.autocomplete, world.channel, name, option.name, hostile(100))
                yield Use(f"/{name}, {option.name} typed", typed)
    for menu in world.bot.tree.get_commands(type=discord.AppCommandType.message):
        yield Use(menu.name, partial(member.context_menu, world.channel, menu.name, message))


def _options_of(world, command: app_commands.Command) -> Iterator[dict[str, Any]]:
    """Yield sets of options: without those that may be left out, with all, and with each choice."""
    required = [one for one in command.parameters if one.required]
    yield {one.name: _value_of(world, one) for one in required}
    if len(required) < len(command.parameters):
        yield {one.name: _value_of(world, one) for one in command.parameters}
    for option in command.parameters:
        for choice in option.choices[1:]:
            yield {one.name: _value_of(world, one) for one in required} | {option.name: choice.value}


def _value_of(world, option: app_commands.Parameter) -> Any:
    if option.choices:
        return option.choices[0].value
    match option.type:
        case AppCommandOptionType.string:
            return hostile(option.max_value)
        case AppCommandOptionType.integer:
            return option.max_value
        case AppCommandOptionType.boolean:
            return True
        case AppCommandOptionType.channel:
            return world.channel
        case AppCommandOptionType.role:
            return world.guild.create_role("some role")
        case _:
            return world.ben


def shown_by(member, result: Any) -> Iterator[Use]:
    """Yield a use of each button, select and form that an answer shows."""
    if getattr(result, "modal", None):
        values = {
            one["custom_id"]: hostile(one.get("max_length", 4000))
            for one in _parts(result.modal)
            if one["type"] == _TEXT
        }
        yield Use(
            f"form {_kind(result.modal['custom_id'])} {result.modal['title']}",
            partial(member.submit_modal, result, values),
        )
    for message in (getattr(result, "response", None), *getattr(result, "followups", ())):
        for part in _parts({"components": message.components}) if message else ():
            kind = _kind(part.get("custom_id", ""))
            if part["type"] == _BUTTON and kind and not part.get("disabled"):
                yield Use(f"button {kind}", partial(member.click, message, custom_id=part["custom_id"]))
            if part["type"] == _SELECT:
                chosen = [one["value"] for one in part["options"]][: part.get("max_values", 1)]
                yield Use(
                    f"select {kind}", partial(member.select, message, chosen, custom_id=part["custom_id"])
                )


def _parts(shown: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each component, however nested."""
    for part in shown.get("components", ()):
        yield part
        yield from _parts(part)
        if "component" in part:
            yield from _parts({"components": [part["component"]]})


def _kind(custom_id: str) -> str:
    """Return a custom id without its numbers."""
    return re.sub(r"\d{4,}|\b[0-9a-f]{8,}\b", "*", custom_id)


async def use_everything(world, member, message, use: Callable[[Use], Awaitable[Any]]) -> None:
    """Call ``use`` for each command, menu, button, select and form once; see :data:`_LAST`."""
    todo, last, used = deque[Use](), deque[Use](), set[str]()
    for one in commands_of(world, member, message):
        (last if _LAST.search(one.name) else todo).append(one)
    while todo or last:
        one = todo.popleft() if todo else last.popleft()
        if one.name in used:
            continue
        try:
            result = await use(one)
        except simcord.SetupError:  # an act before took this button off its message
            continue
        used.add(one.name)
        for after in shown_by(member, result):
            (last if _LAST.search(after.name) else todo).append(after)
