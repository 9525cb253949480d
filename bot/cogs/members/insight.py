"""``/why`` explains why a reply was chosen; ``/status`` shows what runs here.

Both say nothing about other members.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import HasOwner, HasServers, HasStore, HasTaste, Registry
from bot.generation import name_of_model
from bot.identity import who_clicked
from bot.languages import list_of, mark, tr, trn
from bot.ui.taste_text import points_of, reason_lines
from storage.records import NOWHERE, ReplyId

NO_REPLY = mark(
    "I have no reply to you here that I could explain. I only remember replies to members who agreed"
    " to it (`/privacy`), from the moment they agreed."
)


class InsightHost(Registry, HasOwner, HasServers, HasStore, HasTaste, Protocol):
    """What explanations and status need of the client."""

    @property
    def encoder_name(self) -> str:
        """Name of the encoder."""
        ...


class Insight(commands.Cog):
    """Explanations and status."""

    def __init__(self, bot: InsightHost) -> None:
        self._bot = bot
        self._menu = app_commands.ContextMenu(name=mark("Why this reply?"), callback=self.why_this)

    async def cog_load(self) -> None:
        """Register the message menu."""
        self._bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Remove the message menu."""
        self._bot.tree.remove_command(self._menu.name, type=self._menu.type)

    @app_commands.command(name="why", description=mark("Why I picked my last reply to you."))
    async def why(self, interaction: discord.Interaction) -> None:
        """Explain the choice of the last reply to the member here."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        latest = await self._bot.store.replies.latest(who_clicked(interaction), interaction.channel_id)
        await self._explain(interaction, None if latest is None else latest.reply_id)

    async def why_this(self, interaction: discord.Interaction, message: discord.Message) -> None:
        """Explain the choice of the reply that the message menu was opened on.

        The answer is the same for a reply to somebody else and for a reply that is not stored. Otherwise it
        would tell whether the asker of that reply agreed.
        """
        await interaction.response.defer(ephemeral=True, thinking=True)
        reply_id = await self._bot.store.replies.of_message(message.id)
        await self._explain(interaction, reply_id)

    async def _explain(self, interaction: discord.Interaction, reply_id: ReplyId | None) -> None:
        who = who_clicked(interaction)
        told = await self._bot.store.replies.reason(who, NOWHERE if reply_id is None else reply_id)
        if told is None:
            await interaction.followup.send(tr(NO_REPLY), ephemeral=True)
            return
        names = [] if told.reason is None else points_of(told.reason.parts)
        evidence = await self._bot.taste.evidence(self._bot.store.member_id(who), names)
        await interaction.followup.send("\n".join(reason_lines(told, evidence)), ephemeral=True)

    @app_commands.command(name="status", description=mark("Which version and which models I run on."))
    async def status(self, interaction: discord.Interaction) -> None:
        """Show version and models; to the host also the last round, which is about all members."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        servers = self._bot.servers
        chosen = (await servers.of(who_clicked(interaction).guild_id)).model
        writers = (chosen,) if chosen else servers.settings.generator.models_in_use
        lines = [
            f"**Simpatico** {version('simpatico')}, discord.py {discord.__version__}",
            tr("**Writes with** {model}", model=list_of(map(name_of_model, writers))),
            tr("**Ranks with** {model}", model=name_of_model(self._bot.encoder_name.partition("@")[0])),
        ]
        if await self._bot.is_owner(interaction.user):
            lines.append(tr("**Last training round** {learnt}", learnt=await self._last_round()))
        await interaction.followup.send("\n".join(lines), ephemeral=True)

    async def _last_round(self) -> str:
        last = await self._bot.store.learning.latest_round()
        if last is None:
            return tr("no training round yet")
        took = (last.finished_at - last.started_at).total_seconds()
        return tr(
            "<t:{when}:R>, {members}, {labels}, {seconds:.1f} s on {device}",
            when=int(last.finished_at.timestamp()),
            members=trn("{n} member", "{n} members", last.n_members),
            labels=trn("{n} label", "{n} labels", last.n_labels),
            seconds=took,
            device=last.device,
        )


async def setup(bot: InsightHost) -> None:
    """Load the cog."""
    await bot.add_cog(Insight(bot))
