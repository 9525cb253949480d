"""``/limits``: what is left of the daily limits, when they reset, and whether the bot may talk here."""

from __future__ import annotations

from typing import Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import HasLimits, HasServers, Registry
from bot.identity import who_clicked
from bot.languages import mark, tr
from bot.servers.access import may_talk, roles_of, speaker_of_click
from bot.servers.daily_limits import Limits, Standing
from bot.servers.published import next_hour, share_left
from bot.servers.server_settings import Guilds

NO_LIMIT = mark("I answer you here without a limit.")
OWN_MESSAGES = mark("**Your messages today:** {left} of {limit} left.")
OWN_TOKENS = mark("**Your tokens today:** {left} of {limit} left.")
SERVER_MESSAGES = mark("**This server's messages today:** about {percent} % of {limit} left.")
SERVER_TOKENS = mark("**This server's tokens today:** about {percent} % of {limit} left.")
BACK = mark("Your limit resets <t:{when}:R>.")
SERVER_BACK = mark("The server's limit resets <t:{when}:R>.")
BLOCKED = mark(
    "I am not allowed to answer you here. The managers of this server or the host of this bot decided"
    " that, and they can change it. You still control what I keep about you: `/privacy`."
)


class LimitsHost(Registry, HasServers, HasLimits, Protocol):
    """What the cog needs of the client."""


class LimitsCog(commands.Cog):
    """Shows a member the remaining daily limits."""

    def __init__(self, servers: Guilds, limits: Limits) -> None:
        self._servers, self._limits = servers, limits

    @app_commands.command(
        name="limits", description=mark("See how much you have left today, and when your limit resets.")
    )
    async def limits(self, interaction: discord.Interaction) -> None:
        """Show the remaining limits of the member and of the server."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        who = who_clicked(interaction)
        view = await self._servers.of(who.guild_id)
        speaker = speaker_of_click(interaction, self._servers.name_of(who))
        if not all(may_talk(speaker, allow, deny) for allow, deny in view.access):
            await interaction.followup.send(tr(BLOCKED), ephemeral=True)
            return
        own = self._limits.of_member(who, view.limits, roles_of(interaction.user))
        server = self._limits.of_server(who, view.limits)
        lines = [
            *own_lines_of(own),
            *server_lines_of(server),
        ]
        await interaction.followup.send("\n".join(lines) or tr(NO_LIMIT), ephemeral=True)


def own_lines_of(standing: Standing) -> list[str]:
    """Return one line per limit of the member with the remaining amount; empty without limits."""
    lines = []
    if standing.messages is not None:
        lines.append(tr(OWN_MESSAGES, left=standing.messages, limit=standing.limit.messages))
    if standing.tokens is not None:
        lines.append(tr(OWN_TOKENS, left=standing.tokens, limit=standing.limit.tokens))
    if lines and standing.back_at is not None:
        lines.append(tr(BACK, when=int(standing.back_at.timestamp())))
    return lines


def server_lines_of(standing: Standing) -> list[str]:
    """Return one line per limit of the server, in coarse figures: exact ones tell what others just used."""
    lines = []
    for words, left, limit in (
        (SERVER_MESSAGES, standing.messages, standing.limit.messages),
        (SERVER_TOKENS, standing.tokens, standing.limit.tokens),
    ):
        if left is not None:
            lines.append(tr(words, percent=share_left(left, limit), limit=limit))
    if lines and standing.back_at is not None:
        lines.append(tr(SERVER_BACK, when=next_hour(standing.back_at)))
    return lines


async def setup(bot: LimitsHost) -> None:
    """Load the cog."""
    await bot.add_cog(LimitsCog(bot.servers, bot.limits))
