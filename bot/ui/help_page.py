"""Text of ``/help``: every command that this member may use here, taken from the command tree.

A new command appears automatically, so the page cannot become stale. Permissions that a server's owners set
for single commands in Discord are not checked: Discord hides and refuses those commands itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import discord
from discord import app_commands

from bot.languages import list_of, mark, tr

INTRO = mark(
    "I write several replies to each message and post the one I think *you* will like best. Mention"
    " me, reply to me, or send me a direct message. If you agree to it, I learn from your emoji"
    " reactions."
)
COMMAND_LINE = mark("{command}: {description}")
MENU_LINE = mark("In the menu of a message (right-click or hold it, then *Apps*): {menus}")

NOT_LISTED: Mapping[str, str] = {"help": "it is this very page"}
"""Command that is not listed -> the reason."""

OWNER_ONLY = "owner_only"
"""Key in the extras of commands that are for the operator only."""

_FIRST = ("feedback", "why", "style", "privacy", "my-data", "forget-me")
"""Commands that come first; all others follow by name."""

MENU = discord.AppCommandType.message
"""Message menus; the bot has no user menus."""

Listed = app_commands.Command[Any, ..., Any] | app_commands.ContextMenu


def commands_in(tree: app_commands.CommandTree[Any]) -> list[Listed]:
    """Return every command and menu that is not in :data:`NOT_LISTED`, in the order of the page."""
    found: list[Listed] = [
        command
        for kind in (discord.AppCommandType.chat_input, MENU)
        for command in tree.walk_commands(type=kind)
        if not isinstance(command, app_commands.Group) and command.qualified_name not in NOT_LISTED
    ]
    return sorted(found, key=_order)


def may_use(command: Listed, *, permissions: discord.Permissions, direct: bool, owner: bool) -> bool:
    """Return whether a member may use a command.

    Args:
        command: The command or menu.
        permissions: The member's permissions in this channel.
        direct: Whether this is a direct conversation.
        owner: Whether the member is the operator.
    """
    top = command if isinstance(command, app_commands.ContextMenu) else command.root_parent or command
    if top.extras.get(OWNER_ONLY):
        return owner
    if direct:
        return not top.guild_only
    needed = top.default_permissions
    if needed is None or permissions.administrator:
        return True
    return needed.value != 0 and needed <= permissions


def page_of(commands: Iterable[Listed], ids: Mapping[str, int]) -> str:
    """Return the text of the page.

    Args:
        commands: Commands to show, in order.
        ids: Name of a top-level command -> its id at Discord, where known, which makes the name clickable.
    """
    lines: list[str] = []
    menus: list[str] = []
    for command in commands:
        if isinstance(command, app_commands.ContextMenu):
            name = tr(command.name)
            menus.append(f"*{name}*")
        else:
            description = tr(command.description)
            lines.append(tr(COMMAND_LINE, command=_called(command, ids), description=description))
    if menus:
        lines.append(tr(MENU_LINE, menus=list_of(menus)))
    return "\n".join([tr(INTRO), "", *lines])


def _called(command: app_commands.Command[Any, ..., Any], ids: Mapping[str, int]) -> str:
    top = command.root_parent or command
    id_ = ids.get(top.name)
    return f"`/{command.qualified_name}`" if id_ is None else f"</{command.qualified_name}:{id_}>"


def _order(command: Listed) -> tuple[int, str]:
    name = command.qualified_name
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)
