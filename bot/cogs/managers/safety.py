"""``/safety``: the level of the output filter and the blocked words of a server, set by its managers.

:func:`rules_in_words` and :func:`set_level` do not depend on a command, so a panel can use them as well.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import HasResponder, HasStore, Registry
from bot.identity import who_clicked
from bot.languages import mark, tr
from bot.messages.posting import SILENT
from bot.moderation.output_filter import Level
from bot.replies.candidate_source import CandidateSource
from bot.ui.managers_only import ManagerForm, ManagersOnly
from storage.servers.safety_rules import LONGEST_TERM, MOST_TERMS
from storage.store import Store

ABOUT = {
    Level.RELAXED: mark(
        "**relaxed**: links, invitations and mentions are allowed; a link always shows where it leads."
    ),
    Level.STANDARD: mark(
        "**standard**: no invitations to servers, no links that hide their address, no mentions."
    ),
    Level.STRICT: mark("**strict**: like standard, and links are removed."),
}
EVERYWHERE = mark("I never ping anybody, at any level.")
RULES = mark("{level}\nBlocked words of this server: {count}. {everywhere}")
LEVEL_SET = mark("From the next reply on:\n{level}")
WORDS_TITLE = mark("Words I never post here")
WORDS_LABEL = mark("One word or phrase per line")
WORDS_HINT = mark("Whole words only. I also find disguised spellings.")
WORDS_SET = mark(
    "Done. From the next reply on, I will not post any of these here. Blocked words and phrases: {count}."
)
WORDS_CLEARED = mark("Done. No words are blocked here now.")
TOO_MANY = mark(
    "I can block up to {most} words or phrases of up to {longest} characters each. Nothing was changed."
)
_FORM = 4000
"""Characters of a field of a form."""

LevelName = Literal["relaxed", "standard", "strict"]


class SafetyHost(Registry, HasStore, HasResponder, Protocol):
    """What the safety rules need of the client."""


class WordsForm(ManagerForm):
    """All blocked words of a server, one a line.

    Args:
        store: Safety rules of servers.
        before: Those that are blocked now.
    """

    def __init__(self, store: Store, before: tuple[str, ...]) -> None:
        super().__init__(title=tr(WORDS_TITLE))
        self._store = store
        self._words: discord.ui.TextInput[Any] = discord.ui.TextInput(
            custom_id="words",
            style=discord.TextStyle.paragraph,
            required=False,
            max_length=_FORM,
            default="\n".join(before)[:_FORM] or None,
            placeholder=tr(WORDS_HINT),
        )
        self.add_item(discord.ui.Label(text=tr(WORDS_LABEL), component=self._words))

    async def take(self, interaction: discord.Interaction[Any]) -> None:
        """Block these words and no others."""
        guild = self._store.guild_id(who_clicked(interaction))
        lines = (" ".join(line.split()) for line in self._words.value.splitlines())
        terms = tuple(dict.fromkeys(line for line in lines if line))
        try:
            await self._store.safety.record_terms(guild, terms)
        except ValueError:
            await _answer(interaction, tr(TOO_MANY, most=MOST_TERMS, longest=LONGEST_TERM))
            return
        await _answer(interaction, tr(WORDS_SET, count=len(terms)) if terms else tr(WORDS_CLEARED))


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
class Safety(
    ManagersOnly,
    commands.GroupCog,
    group_name="safety",
    group_description=mark("Choose what I never post here."),
):
    """Safety rules of a server."""

    def __init__(self, store: Store, source: CandidateSource) -> None:
        self._store, self._source = store, source
        super().__init__()

    @app_commands.command(name="show", description=mark("Show how strict I am here."))
    async def show(self, interaction: discord.Interaction) -> None:
        """Show level and number of blocked words."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await _answer(interaction, await rules_in_words(self._store, self._source, interaction))

    @app_commands.command(name="level", description=mark("Choose how strict I am here."))
    @app_commands.describe(level=mark("relaxed, standard or strict"))
    async def level(self, interaction: discord.Interaction, level: LevelName) -> None:
        """Set the level."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await set_level(self._store, interaction, Level(level))
        await _answer(interaction, tr(LEVEL_SET, level=tr(ABOUT[Level(level)])))

    @app_commands.command(name="words", description=mark("Choose words and phrases that I never post here."))
    async def words(self, interaction: discord.Interaction) -> None:
        """Open the form with the blocked words; the read before it is short enough for Discord."""
        rules = await self._store.safety.of(self._store.guild_id(who_clicked(interaction)))
        await interaction.response.send_modal(WordsForm(self._store, rules.terms))


async def rules_in_words(store: Store, source: CandidateSource, interaction: discord.Interaction[Any]) -> str:
    """Describe the rules of the server of an interaction."""
    decided = await store.safety.of(store.guild_id(who_clicked(interaction)))
    level = source.rules_for(decided).level
    return tr(RULES, level=tr(ABOUT[level]), count=len(decided.terms), everywhere=tr(EVERYWHERE))


async def set_level(store: Store, interaction: discord.Interaction[Any], level: Level) -> None:
    """Set the level of the server of an interaction; the caller checks the permission."""
    await store.safety.record_level(store.guild_id(who_clicked(interaction)), level.value)


async def _answer(interaction: discord.Interaction[Any], text: str) -> None:
    await interaction.followup.send(text, ephemeral=True, allowed_mentions=SILENT)


async def setup(bot: SafetyHost) -> None:
    """Load the cog."""
    await bot.add_cog(Safety(bot.store, bot.responder.source))
