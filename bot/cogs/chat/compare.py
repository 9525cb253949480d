"""``/compare``: shows a member two candidates side by side, privately, and asks which one they like better.

A pick is stored as two feature vectors and a click, sealed, and is learnt from in the next round.
:mod:`bot.replies.comparisons` decides which pair is shown.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Protocol, Self

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.chat.answering import AnsweringHost, note_of, note_without_answer
from bot.cogs.chat.helping import Helping, HelpingHost
from bot.cogs.ports import HasServers, Registry
from bot.generation import Context, GeneratorError
from bot.identity import who_clicked
from bot.languages import mark, tr
from bot.messages.context_reader import name_in
from bot.messages.conversation import BUSY, SPEECHLESS
from bot.messages.markdown import escaped
from bot.messages.posting import SILENT
from bot.messages.splitting import split_message
from bot.replies.comparisons import Comparison, Comparisons
from bot.replies.decision import NothingToSay, Prompt
from bot.replies.fair_turns import TooManyWaiting
from bot.servers.access import roles_of
from bot.servers.daily_limits import UsedUp
from bot.servers.readers import may_show_in
from bot.ui.components import PersistentButton, agreed, clicked_by_who_agreed
from bot.ui.feedback_panel import UnpickButton
from bot.ui.feedback_text import cut, excerpt
from bot.ui.ports import FeedbackHost
from storage.errors import LearningPaused, NoConsent
from storage.records import Picked, Who

TO_THIS = mark("**Answers to your message:** {message}")
TO_LATEST = mark("**Answers to your message that I answered <t:{when}:R> with:** {reply}")
_NAMED = "**"
"""Start of the line that names the message; it stays while further pairs are shown."""
EXCERPT = 200
"""Longest part of a message or reply that is quoted, characters."""
ASK = mark("Which of the two do you like better? Only you see this.")
NOTHING = mark(
    "I do not have two different answers to show you yet. Chat with me first and then use `/compare`,"
    " or give me a message to answer: `/compare message: ...`."
)
GONE = mark("That comparison is over. `/compare` starts a new one.")
PAUSED = mark("Learning is paused, so I did not record that. You can resume it in `/feedback`.")
RECORDED = {
    Picked.FIRST: mark("Recorded: you like A better."),
    Picked.SECOND: mark("Recorded: you like B better."),
    Picked.EQUAL: mark("Recorded: you like both equally."),
}
COUNTS = mark("I will learn from it in my next training round. `/feedback` shows what I have learnt.")
NEXT = mark("Here is the next pair.")
LAST = mark("That was the last pair. Thank you!")
MOST_SHOWN = 2000
"""Longest text of one candidate, characters; two of them must fit one message."""

_LABELS = {Picked.FIRST: "A", Picked.SECOND: "B", Picked.EQUAL: mark("Equal")}


class PickHost(FeedbackHost, Protocol):
    """What a choice between two candidates needs of the client."""

    @property
    def comparisons(self) -> Comparisons:
        """The pairs that are shown now."""
        ...


class CompareHost(Registry, AnsweringHost, HasServers, HelpingHost, PickHost, Protocol):
    """What the cog needs of the client."""


class PickButton(
    PersistentButton, template=r"simpatico:pick:(?P<token>[0-9a-f]{8}):(?P<picked>first|second|equal)"
):
    """Button that chooses between the two candidates that are shown."""

    def __init__(self, token: str, picked: Picked) -> None:
        equal = picked is Picked.EQUAL
        super().__init__(
            discord.ui.Button(
                label=tr(_LABELS[picked]),
                style=discord.ButtonStyle.secondary if equal else discord.ButtonStyle.primary,
                custom_id=f"simpatico:pick:{token}:{picked}",
                row=0,
            )
        )
        self._token, self._picked = token, picked

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(match["token"], Picked(match["picked"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Record the member's choice and show the next pair."""
        if (clicked := await clicked_by_who_agreed(interaction)) is None:
            return
        _, who = clicked
        bot: PickHost = interaction.client
        comparison = bot.comparisons.under_way(who, self._token)
        if comparison is None:
            await interaction.edit_original_response(content=tr(GONE), embeds=[], view=None)
            return
        try:
            bound = replace(who, under=comparison.under)  # the pair is of the consent it was made under
            pick = comparison.pick(self._picked)
            preference_id = await bot.store.preferences.record_pick(bound, pick)
        except NoConsent:  # forgotten or agreed anew since the pair was shown
            await interaction.edit_original_response(content=tr(GONE), embeds=[], view=None)
            return
        except LearningPaused:
            await interaction.edit_original_response(content=tr(PAUSED), embeds=[], view=None)
            return
        bot.labels_changed(1)
        more = bot.comparisons.turn(who, comparison)
        asked = interaction.message.content.splitlines()[:1] if interaction.message else []
        named = [line for line in asked if line.startswith(_NAMED)]
        said = "\n".join([*named, tr(RECORDED[self._picked]), tr(COUNTS), tr(NEXT if more else LAST)])
        await _show(interaction, comparison if more else None, said=said, undo=preference_id)


class Compare(commands.Cog):
    """``/compare``: members choose between two candidates."""

    def __init__(self, bot: CompareHost) -> None:
        self._bot = bot
        self._helping = Helping(bot)

    async def cog_load(self) -> None:
        """Register the buttons that outlive a restart."""
        self._bot.add_dynamic_items(PickButton)

    @app_commands.command(
        name="compare", description=mark("See two of my answers side by side and say which you like better.")
    )
    @app_commands.describe(
        message=mark("The message to answer; leave it out to compare my latest answers to you")
    )
    async def compare(
        self, interaction: discord.Interaction, message: app_commands.Range[str, 1, 1000] | None = None
    ) -> None:
        """Show the most informative pair."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        if message is not None and (help_words := self._helping.words_for(message)):
            await interaction.edit_original_response(content=help_words)
            return
        who = await agreed(self._bot, interaction, who_clicked(interaction))
        if who is None:
            return
        if await self._bot.store.pauses.is_paused(who):
            await interaction.edit_original_response(content=tr(PAUSED))
            return
        try:
            comparison, named = await self._begin(interaction, who, message)
        except UsedUp as exc:
            await interaction.edit_original_response(content=note_of(exc))
        except TooManyWaiting:
            await interaction.edit_original_response(content=tr(BUSY))
        except NothingToSay:
            await interaction.edit_original_response(content=tr(SPEECHLESS))
        except GeneratorError as exc:
            await interaction.edit_original_response(content=note_without_answer(exc))
        else:
            said = f"{named}\n{tr(ASK)}" if comparison else tr(NOTHING)
            await _show(interaction, comparison, said=said)

    async def _begin(
        self, interaction: discord.Interaction, who: Who, message: str | None
    ) -> tuple[Comparison | None, str]:
        """Return the comparison, and the line that names the message that its candidates answer."""
        if message is not None:
            view = await self._bot.servers.of(who.guild_id)
            name = name_in(interaction.guild, interaction.channel)
            context = Context(message, persona=view.persona, model=view.model, name=name)
            shows = may_show_in(interaction.channel)
            prompt = Prompt(who, context, roles=roles_of(interaction.user), may_show=shows)
            named = tr(TO_THIS, message=escaped(cut(" ".join(message.split()), EXCERPT)))
            return await self._bot.comparisons.of_message(prompt), named
        latest = await self._bot.store.replies.latest(who, interaction.channel_id)
        if latest is None:
            return None, ""
        when, reply = int(latest.created_at.timestamp()), escaped(excerpt(latest, EXCERPT))
        comparison = await self._bot.comparisons.of_reply(who, latest.reply_id)
        return comparison, tr(TO_LATEST, when=when, reply=reply)


async def _show(
    interaction: discord.Interaction,
    comparison: Comparison | None,
    *,
    said: str,
    undo: int | None = None,
) -> None:
    """Show a pair with its buttons, or none."""
    view = discord.ui.View(timeout=None)
    embeds: list[discord.Embed] = []
    if comparison is not None:
        for picked in (Picked.FIRST, Picked.SECOND, Picked.EQUAL):
            view.add_item(PickButton(comparison.token, picked))
        for name, index in zip("AB", comparison.shown, strict=True):
            embeds.append(discord.Embed(title=name, description=_cut(comparison.texts[index])))
    if undo is not None:
        view.add_item(UnpickButton(undo))
    await interaction.edit_original_response(content=said, embeds=embeds, view=view, allowed_mentions=SILENT)


def _cut(text: str) -> str:
    """Return the start of a text; a cut closes code, whose end would make its links live."""
    return text if len(text) <= MOST_SHOWN else split_message(text, MOST_SHOWN - 1)[0] + "…"


async def setup(bot: CompareHost) -> None:
    """Load the cog."""
    await bot.add_cog(Compare(bot))
