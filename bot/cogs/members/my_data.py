"""``/my-data``: everything kept about the member, as a file that only they see."""

from __future__ import annotations

import io
from typing import Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import HasStore, HasTaste, Registry
from bot.identity import who_clicked
from bot.languages import mark, tr
from bot.ui.data_export import DataExport
from personalization.insight.taste import TasteReader
from storage.clock import utcnow
from storage.store import Store

TOO_LONG = mark("Your file is not ready after ten minutes, because I am very busy. Please try again later.")


class MyDataHost(Registry, HasStore, HasTaste, Protocol):
    """What the export needs of the client."""


class MyData(commands.Cog):
    """The member's rights of access and data portability."""

    def __init__(self, store: Store, taste: TasteReader) -> None:
        self._export = DataExport(store, taste)

    @app_commands.command(
        name="my-data", description=mark("Everything I keep about you, as a file for you alone.")
    )
    async def my_data(self, interaction: discord.Interaction) -> None:
        """Answer with a summary and the file; further parts follow in further messages."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        who = who_clicked(interaction)
        try:
            parts, summary = await self._export.parts_for(who, utcnow())
        except TimeoutError:
            await interaction.edit_original_response(content=tr(TOO_LONG))
            return
        for number, (name, part) in enumerate(parts):
            file = discord.File(io.BytesIO(part), filename=name)
            if number == 0:
                await interaction.edit_original_response(content=summary, attachments=[file])
            else:
                text = tr("Part {number}; put the parts together in order.", number=number + 1)
                await interaction.followup.send(text, file=file, ephemeral=True)


async def setup(bot: MyDataHost) -> None:
    """Load the cog."""
    await bot.add_cog(MyData(bot.store, bot.taste))
