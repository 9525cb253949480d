"""What the page of the playground shows beside the chat: "is writing", message menus, who is the manager.

simcord's page has none of these. It lists slash commands only, and it does not show typing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import discord
import simcord
from discord.ext import commands

_TYPING_S = 10.0
"""Time for which Discord's own clients show that somebody is writing, seconds."""
_BUSY_S = 10.0
"""Longest wait until simcord has finished another click, seconds."""


class MenuRefused(Exception):
    """A message menu could not be used; the message says why."""


class Live:
    """State of the playground that its page asks for several times a second.

    Args:
        env: The simulated Discord.
        preview: Its page.
        bot: The bot.
        roles: Id of a viewer -> what the viewer may do, shown behind the name.
    """

    def __init__(
        self,
        env: simcord.Env,
        preview: simcord.Preview,
        bot: commands.Bot,
        roles: Mapping[int, str],
    ) -> None:
        self._preview, self._bot, self._roles = preview, bot, roles
        self._writing_until = 0.0
        env.backend.subscribers.append(self._seen)

    def state(self) -> dict[str, Any]:
        """Return the state as JSON."""
        return {
            "writing": time.monotonic() < self._writing_until,
            "menus": self._menus(),
            "roles": {str(viewer): role for viewer, role in self._roles.items()},
        }

    async def use_menu(self, name: str, message_id: int, viewer_id: int) -> None:
        """Use a message menu as one of the viewers.

        Raises:
            MenuRefused: There is no such menu, message or viewer, or simcord is busy for too long.
        """
        viewer = next((viewer for viewer in self._preview.viewers if viewer.id == viewer_id), None)
        message = next((m for m in self._preview.channel.history() if m.id == message_id), None)
        if name not in self._menus() or viewer is None or message is None:
            raise MenuRefused("The message is gone. Please reload the page.")
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                await viewer.context_menu(self._preview.channel, name, message)
                return
            except simcord.SetupError as exc:  # another click is being answered
                if time.monotonic() > deadline:
                    raise MenuRefused("The playground is busy. Please try again.") from exc
            await asyncio.sleep(0.1)

    def _menus(self) -> list[str]:
        return sorted(menu.name for menu in self._bot.tree.get_commands(type=discord.AppCommandType.message))

    def _seen(self, event: str, payload: Mapping[str, Any]) -> None:
        """Note who writes, as a Discord client does: until a message comes, or for ten seconds."""
        me = str(self._bot.user.id) if self._bot.user is not None else None
        if event == "TYPING_START" and payload.get("user_id") == me:
            self._writing_until = time.monotonic() + _TYPING_S
        elif event in ("MESSAGE_CREATE", "MESSAGE_UPDATE") and payload.get("author", {}).get("id") == me:
            self._writing_until = 0.0
