"""The button that starts over: discards everything learnt from a member in one server, after a question."""

from __future__ import annotations

import re
from typing import Any, Self

import discord

from bot.languages import mark, tr
from bot.ui.components import PersistentButton, clicked_by_who_agreed

SURE = mark(
    "I will set aside everything I learnt from your reactions, ratings and choices here, and start"
    " learning your taste from scratch. Your reactions in the channels stay where they are. Continue?"
)
STARTED_OVER = mark("Done. I am starting over: only your reactions from now on count.")


class StartOverButton(PersistentButton, template=r"simpatico:over:(?P<step>ask|do)"):
    """Asks for confirmation, then discards everything learnt from the member here."""

    def __init__(self, step: str = "ask") -> None:
        super().__init__(
            discord.ui.Button(
                label=tr("Start over") if step == "ask" else tr("Yes, start over"),
                style=discord.ButtonStyle.secondary if step == "ask" else discord.ButtonStyle.danger,
                custom_id=f"simpatico:over:{step}",
                row=1,
            )
        )
        self._step = step

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(match["step"])

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Ask, or start over."""
        if (clicked := await clicked_by_who_agreed(interaction)) is None:
            return
        bot, who = clicked
        if self._step == "ask":
            view = discord.ui.View(timeout=None)
            view.add_item(StartOverButton("do"))
            await interaction.followup.send(tr(SURE), view=view, ephemeral=True)
            return
        changed = await bot.store.learning.start_over(who)
        bot.ranker.drop([bot.store.member_id(who)])
        bot.labels_changed(changed)
        await interaction.edit_original_response(content=tr(STARTED_OVER), view=None)
