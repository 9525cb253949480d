"""Base classes of buttons and menus that work after a restart: their state is in their custom id."""

from __future__ import annotations

from typing import Any, ClassVar

import discord

from bot.ui.errors import answer_error
from bot.ui.ports import Host


class PersistentButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"simpatico:abstract"):
    """Base class of all buttons; answers errors, which discord.py would only log for a dynamic item."""

    TALKS: ClassVar[bool] = False
    """Whether a press makes the bot talk; it is then declined where the bot may not talk."""

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Carry out the press; a failure is answered like that of a command."""
        host: Host = interaction.client
        host.tongues.hear(interaction)
        try:
            if not self.TALKS or await host.may_use(interaction):
                await self.press(interaction)
        except Exception as exc:  # boundary: the same as the command tree's error handler
            await answer_error(interaction, exc)

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Carry out the press; overridden by each button."""
        raise NotImplementedError


class PersistentSelect(discord.ui.DynamicItem[discord.ui.Select[Any]], template=r"simpatico:abstract-menu"):
    """Base class of all menus with one chosen value."""

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Carry out the choice; a failure is answered like that of a command."""
        host: Host = interaction.client
        host.tongues.hear(interaction)
        try:
            await self.choose(interaction, next(iter(self.item.values), ""))
        except Exception as exc:  # boundary: the same as the command tree's error handler
            await answer_error(interaction, exc)

    async def choose(self, interaction: discord.Interaction[Any], value: str) -> None:
        """Carry out the choice of ``value``; overridden by each menu."""
        raise NotImplementedError
