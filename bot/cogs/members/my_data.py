"""``/my-data``: everything kept about the member, as a file that only they see."""

from __future__ import annotations

import io
import logging
from typing import Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import HasStore, HasTaste, Registry
from bot.identity import who_clicked
from bot.languages import mark, tr, trn
from bot.ui.data_export import PART_BYTES, AlreadyMaking, DataExport, Part
from personalization.insight.taste import TasteReader
from storage.clock import utcnow
from storage.store import Store

log = logging.getLogger(__name__)

TOO_LONG = mark("Your file is not ready after ten minutes, because I am very busy. Please try again later.")
INCOMPLETE = mark(
    "Your file is NOT complete: I could send only {n_parts} of its parts. Please try again later. Parts of"
    " two files do not fit together."
)
ALREADY = mark("I am already making your file. Please wait until it is here.")
BESIDE_BYTES = 2**14
"""Room for the other fields of a request with a file, bytes."""


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
        """Answer with the file, part by part, and with a summary beside the last part."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        n_sent = 0

        async def say(text: str, *files: discord.File) -> None:
            if n_sent:
                await interaction.followup.send(text, files=files, ephemeral=True)
            else:  # Discord would take the first followup as this answer, too
                await interaction.edit_original_response(content=text, attachments=files)

        async def send(part: Part) -> None:
            nonlocal n_sent
            text = tr("Part {number}; put the parts together in order.", number=part.number)
            await say(text, _file_of(part))
            n_sent = part.number

        room = max(1, min(PART_BYTES, interaction.filesize_limit - BESIDE_BYTES))
        try:
            last, text = await self._export.send(who_clicked(interaction), utcnow(), send, room)
            if n_sent:
                parts = trn(
                    "The file has {n} part, and this is the last one.",
                    "The file has {n} parts, and this is the last one. Put them together in the order of"
                    " their names.",
                    last.number,
                )
                text = f"{text}\n{parts}"
            await say(text, _file_of(last))
        except AlreadyMaking:
            await say(tr(ALREADY))
        except (TimeoutError, discord.HTTPException) as exc:
            if not n_sent and not isinstance(exc, TimeoutError):
                raise
            log.warning("the file of a member is not complete (%s)", type(exc).__name__)
            await say(tr(INCOMPLETE, n_parts=n_sent) if n_sent else tr(TOO_LONG))


def _file_of(part: Part) -> discord.File:
    return discord.File(io.BytesIO(part.content), filename=part.name)


async def setup(bot: MyDataHost) -> None:
    """Load the cog."""
    await bot.add_cog(MyData(bot.store, bot.taste))
