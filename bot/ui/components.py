"""Buttons and menus that outlive a restart: state stands in their id, failures are told in words."""

from __future__ import annotations

from typing import Any, ClassVar

import discord

from bot.ui.errors import answer_error
from bot.ui.ports import Host


class PersistentButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"simpatico:abstract"):
    """Base of all buttons of this bot: discord.py would only log an error in a dynamic item."""

    TALKS: ClassVar[bool] = False
    """Whether a press makes the bot talk; then it is declined where the bot shall not."""

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
        """What the button does."""
        raise NotImplementedError


class PersistentSelect(discord.ui.DynamicItem[discord.ui.Select[Any]], template=r"simpatico:abstract-menu"):
    """Base of all menus of this bot, of which one value is chosen."""

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Carry out the choice; a failure is answered like that of a command."""
        host: Host = interaction.client
        host.tongues.hear(interaction)
        try:
            await self.choose(interaction, next(iter(self.item.values), ""))
        except Exception as exc:  # boundary: the same as the command tree's error handler
            await answer_error(interaction, exc)

    async def choose(self, interaction: discord.Interaction[Any], value: str) -> None:
        """What choosing ``value`` does."""
        raise NotImplementedError
