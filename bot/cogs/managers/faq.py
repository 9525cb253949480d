"""``/faq``: questions and answers written by the managers of a server.

An answer whose question is similar to a message becomes a candidate (:mod:`bot.replies.faq_answers`). Texts
are entered in forms; their author is not stored.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import HasResponder, HasStore, Registry
from bot.identity import who_clicked
from bot.languages import mark, tr, trn
from bot.messages.markdown import escaped
from bot.messages.posting import SILENT
from bot.moderation.output_filter import Drop
from bot.replies.candidate_source import CandidateSource
from bot.ui.managers_only import ManagerForm, ManagersOnly, is_manager
from storage.errors import FaqFull, UnknownEntry
from storage.servers.faq import LONGEST_ANSWER, LONGEST_QUESTION, MOST_ENTRIES, EntryId, FaqEntry
from storage.store import Store

ADD_TITLE = mark("A question and its answer")
EDIT_TITLE = mark("Change an entry")
QUESTION_LABEL = mark("Question")
QUESTION_HINT = mark("As a member would ask it")
ANSWER_LABEL = mark("The best answer")
ANSWER_HINT = mark("I may post it word for word")
ADDED = mark("Saved for this server: {question}")
CHANGED = mark("Changed: {question}")
REMOVED = mark("Removed.")
NONE_YET = mark("There are no entries yet. Use `/faq add` to add a question and its best answer.")
GONE = mark("That entry no longer exists. `/faq list` shows all entries.")
FULL = mark("This server has {most} entries, which is the maximum. Please remove one first.")
BLANK = mark("Please enter both a question and an answer.")
WITHHELD = mark("I would not post that answer here. The reason: {reason}. `/safety` shows what is allowed.")
TIDIED = mark(
    "I would remove some of its links or mentions before I post it. `/safety` shows what is allowed."
)
ENTRY = "• {question}"
SHOWN = 1800
"""Longest list that is shown in the message, characters; a longer one becomes a file."""

REASONS = {
    Drop.BLANK: mark("nothing in it can be read"),
    Drop.TOO_LONG: mark("it is too long"),
    Drop.LEAKED_PROMPT: mark("it repeats my instructions"),
    Drop.INVITE_LINK: mark("an invitation to a server"),
    Drop.MASKED_LINK: mark("a link that hides where it leads"),
    Drop.LINK: mark("a link"),
    Drop.LOOP: mark("it repeats itself"),
    Drop.BLOCKED_TERM: mark("a blocked word"),
    Drop.TOXIC: mark("it reads as toxic"),
    Drop.TOO_SLOW: mark("checking it takes too long"),
}


class FaqHost(Registry, HasStore, HasResponder, Protocol):
    """What the questions and answers need of the client."""


class EntryForm(ManagerForm):
    """A question and an answer.

    Args:
        title: Title of the form.
        take: Called with the entry, after the permission of its author was checked.
        before: Entry that fills the form at first.
    """

    def __init__(
        self,
        title: str,
        take: Callable[[discord.Interaction[Any], FaqEntry], Any],
        before: FaqEntry | None = None,
    ) -> None:
        super().__init__(title=title)
        self._take = take
        self._question: discord.ui.TextInput[Any] = discord.ui.TextInput(
            custom_id="question",
            max_length=LONGEST_QUESTION,
            default=before.question if before else None,
            placeholder=tr(QUESTION_HINT),
        )
        self._answer: discord.ui.TextInput[Any] = discord.ui.TextInput(
            custom_id="answer",
            style=discord.TextStyle.paragraph,
            max_length=LONGEST_ANSWER,
            default=before.answer if before else None,
            placeholder=tr(ANSWER_HINT),
        )
        self.add_item(discord.ui.Label(text=tr(QUESTION_LABEL), component=self._question))
        self.add_item(discord.ui.Label(text=tr(ANSWER_LABEL), component=self._answer))

    async def take(self, interaction: discord.Interaction[Any]) -> None:
        """Pass on the entry."""
        await self._take(interaction, FaqEntry(self._question.value, self._answer.value))


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
class Faq(
    ManagersOnly,
    commands.GroupCog,
    group_name="faq",
    group_description=mark("Manage questions and their answers."),
):
    """Questions and answers that the managers of a server write."""

    def __init__(self, store: Store, source: CandidateSource) -> None:
        self._store, self._source = store, source
        super().__init__()

    @app_commands.command(name="add", description=mark("Add a question and its best answer."))
    async def add(self, interaction: discord.Interaction) -> None:
        """Open the form for a new entry."""

        async def take(sent: discord.Interaction[Any], entry: FaqEntry) -> None:
            try:
                await self._store.faq.add(self._guild(sent), entry)
            except FaqFull:
                await _answer(sent, tr(FULL, most=MOST_ENTRIES))
            except ValueError:
                await _answer(sent, tr(BLANK))
            else:
                await self._confirm(sent, ADDED, entry)

        await interaction.response.send_modal(EntryForm(tr(ADD_TITLE), take))

    @app_commands.command(name="edit", description=mark("Change a question or its answer."))
    @app_commands.describe(entry=mark("Which question"))
    async def edit(self, interaction: discord.Interaction, entry: str) -> None:
        """Open the form with an entry; the one look into the store before it is short."""
        entry_id = _entry_id(entry)
        found = await self._store.faq.entries(self._guild(interaction), [entry_id])
        if entry_id not in found:
            await interaction.response.send_message(tr(GONE), ephemeral=True, allowed_mentions=SILENT)
            return

        async def take(sent: discord.Interaction[Any], changed: FaqEntry) -> None:
            try:
                await self._store.faq.edit(self._guild(sent), entry_id, changed)
            except UnknownEntry:
                await _answer(sent, tr(GONE))
            except ValueError:
                await _answer(sent, tr(BLANK))
            else:
                await self._confirm(sent, CHANGED, changed)

        await interaction.response.send_modal(EntryForm(tr(EDIT_TITLE), take, found[entry_id]))

    @app_commands.command(name="remove", description=mark("Remove a question and its answer."))
    @app_commands.describe(entry=mark("Which question"))
    async def remove(self, interaction: discord.Interaction, entry: str) -> None:
        """Delete an entry."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        removed = await self._store.faq.remove(self._guild(interaction), _entry_id(entry))
        await _answer(interaction, tr(REMOVED if removed else GONE))

    @app_commands.command(name="list", description=mark("List the questions that have an answer here."))
    async def list_entries(self, interaction: discord.Interaction) -> None:
        """Show the questions, or everything as a file where they are too many."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        entries = list((await self._store.faq.entries(self._guild(interaction))).values())
        if not entries:
            await _answer(interaction, tr(NONE_YET))
            return
        title = trn(
            "**{n} entry** of at most {most}",
            "**{n} entries** of at most {most}",
            len(entries),
            most=MOST_ENTRIES,
        )
        lines = "\n".join(ENTRY.format(question=escaped(e.question)) for e in entries)
        if len(lines) <= SHOWN:
            await _answer(interaction, f"{title}\n{lines}")
            return
        whole = "\n\n".join(f"{entry.question}\n{entry.answer}" for entry in entries)
        file = discord.File(io.BytesIO(whole.encode()), "faq.txt")
        await interaction.followup.send(title, file=file, ephemeral=True, allowed_mentions=SILENT)

    @edit.autocomplete("entry")
    @remove.autocomplete("entry")
    async def entries_like(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        """Autocomplete questions that contain the typed text; empty for members who are not managers."""
        if not is_manager(interaction):
            return []
        entries = await self._store.faq.entries(self._guild(interaction))
        return [
            app_commands.Choice(name=entry.question[:100], value=str(entry_id))
            for entry_id, entry in entries.items()
            if current.casefold() in entry.question.casefold()
        ][:25]

    def _guild(self, interaction: discord.Interaction[Any]) -> bytes:
        return self._store.guild_id(who_clicked(interaction))

    async def _confirm(self, interaction: discord.Interaction[Any], words: str, entry: FaqEntry) -> None:
        """Confirm that the entry is stored, and show what the output filter does to the answer."""
        lines = [tr(words, question=escaped(entry.question))]
        verdict = await self._source.verdict_on(who_clicked(interaction), entry.answer.strip())
        for reason in verdict.dropped:
            lines.append(tr(WITHHELD, reason=tr(REASONS[reason])))
        if any(kept.text != entry.answer.strip() for kept in verdict.kept):
            lines.append(tr(TIDIED))
        await _answer(interaction, "\n".join(lines))


def _entry_id(value: str) -> EntryId:
    """Parse the id from the autocompletion; free text gives an id that matches no entry."""
    return EntryId(int(value)) if value.isascii() and value.isdigit() and len(value) <= 18 else EntryId(0)


async def _answer(interaction: discord.Interaction[Any], text: str) -> None:
    await interaction.followup.send(text, ephemeral=True, allowed_mentions=SILENT)


async def setup(bot: FaqHost) -> None:
    """Load the cog."""
    await bot.add_cog(Faq(bot.store, bot.responder.source))
