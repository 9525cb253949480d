"""The menu *Report this reply* for all members, and ``/review`` for managers of the server.

Neither the managers nor the store learn who reports. A reply is shown by a link; its text is never copied. A
manager deletes a reply in Discord, and its stored data follow as for every deleted message.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, Literal, Protocol, Self, cast

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import HasInbox, HasUser, Registry
from bot.identity import who_clicked
from bot.languages import list_of, mark, tr
from bot.messages.conversation import is_note
from bot.messages.posting import SILENT
from bot.moderation.report_queue import Reason, Report, ReportQueue
from bot.servers.published import next_hour
from bot.ui.components import PersistentButton, PersistentSelect
from bot.ui.managers_only import require_manager
from storage.records import Deleted

log = logging.getLogger(__name__)

NOT_MINE = mark("You can only report my own replies to the managers of this server.")
WHY = mark("What is wrong with it? The managers of this server see your choice, but not who made it.")
CHOOSE = mark("What is wrong with it?")
THANKS = mark(
    "Thank you. The managers of this server will see that this reply was reported, but not by whom."
)
TWICE = mark("You have already reported that reply. The managers of this server will look at it.")
NOTHING_WAITS = mark("There are no reported replies here.")
TITLE = mark("**Reported replies: {count}**, oldest first. Nobody can see who reported them.")
LINE = mark("{number}. {link} · {reasons} · since <t:{since}:R>")
TIMES = "{reason} ×{count}"
DELETED = mark("Deleted, together with everything I kept about that reply.")
DISMISSED = mark("Dismissed; the reply stays.")
HANDLED = mark("That report has already been handled, or the reply no longer exists.")
NOT_DELETED = mark("Discord did not let me delete that reply. It is still listed in `/review`.")
DELETE_LABEL = mark("Delete {number}")
DISMISS_LABEL = mark("Dismiss {number}")

REASONS = {
    Reason.RUDE: mark("It is rude or hurtful"),
    Reason.WRONG: mark("It is wrong or misleading"),
    Reason.UNSAFE: mark("It is dangerous or does not belong here"),
    Reason.OTHER: mark("Something else"),
}
SHOWN = 5
"""Reports in one list: Discord has five rows for buttons."""

_WAIT_S = 2.0
"""Time to wait until a deletion is stored, so that the list shows it, seconds."""

Act = Literal["delete", "dismiss"]


class ReviewHost(HasInbox, Protocol):
    """What a review needs of the client."""

    @property
    def reports(self) -> ReportQueue:
        """Reports that wait for a decision."""
        ...

    def get_partial_messageable(self, id: int, /) -> discord.PartialMessageable:
        """Return a channel by its id, without a request."""
        ...


class ReportsHost(Registry, HasUser, ReviewHost, Protocol):
    """What the cog needs of the client."""


class ReasonMenu(PersistentSelect, template=r"simpatico:report:(?P<message>\d{1,20})"):
    """Menu of reasons for a report; works after a restart, because the message id is in its custom id.

    Args:
        message_id: The reported message.
    """

    def __init__(self, message_id: int) -> None:
        options = [
            discord.SelectOption(label=tr(words), value=reason.value) for reason, words in REASONS.items()
        ]
        super().__init__(
            discord.ui.Select(
                custom_id=f"simpatico:report:{message_id}", placeholder=tr(CHOOSE), options=options
            )
        )
        self._message_id = message_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the menu from its id."""
        return cls(int(match["message"]))

    async def choose(self, interaction: discord.Interaction[Any], value: str) -> None:
        """Take the report."""
        await interaction.response.defer(ephemeral=True)
        bot: ReviewHost = interaction.client
        channel_id = interaction.channel_id
        if channel_id is None or value not in set(Reason) or self._message_id >= 2**63:
            return
        taken = await bot.reports.take(who_clicked(interaction), channel_id, self._message_id, Reason(value))
        await interaction.edit_original_response(
            content=tr(THANKS if taken else TWICE), view=None, allowed_mentions=SILENT
        )


class DecideButton(PersistentButton, template=r"simpatico:review:(?P<act>delete|dismiss):m(?P<id>\d{1,20})"):
    """A manager's decision on one report.

    The custom id names the message, never the stored reply: it must not tell whether the reply is stored,
    which depends on the consent of its asker.

    Args:
        act: The decision.
        message_id: First message of the reported reply.
        place: Position in the list, from 1.
    """

    def __init__(self, act: Act, message_id: int, place: int = 0) -> None:
        label = DELETE_LABEL if act == "delete" else DISMISS_LABEL
        danger = discord.ButtonStyle.danger if act == "delete" else discord.ButtonStyle.secondary
        super().__init__(
            discord.ui.Button(
                label=tr(label, number=place),
                style=danger,
                custom_id=f"simpatico:review:{act}:m{message_id}",
                row=max(0, place - 1),
            )
        )
        self._act: Act = act
        self._message_id = message_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(cast(Act, match["act"]), int(match["id"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Carry out the decision of a manager, and show the remaining reports."""
        require_manager(interaction)
        await interaction.response.defer(ephemeral=True)
        bot: ReviewHost = interaction.client
        who = who_clicked(interaction)
        report = await bot.reports.of_message(who, self._message_id) if self._message_id < 2**63 else None
        if report is None:
            said = HANDLED
        elif self._act == "dismiss":
            await bot.reports.dismiss(who, report)
            said = DISMISSED
        else:
            said = DELETED if await delete_reply(bot, report) else NOT_DELETED
        await show_reports(bot, interaction, tr(said))


class Reports(commands.Cog):
    """Reports and their review."""

    def __init__(self, bot: ReportsHost) -> None:
        self._bot = bot
        menu = app_commands.ContextMenu(name=mark("Report this reply"), callback=self.report_this)
        self._menu = app_commands.guild_only(menu)

    async def cog_load(self) -> None:
        """Register the message menu and the persistent buttons."""
        self._bot.tree.add_command(self._menu)
        self._bot.add_dynamic_items(ReasonMenu, DecideButton)

    async def cog_unload(self) -> None:
        """Remove the message menu."""
        self._bot.tree.remove_command(self._menu.name, type=self._menu.type)

    async def report_this(self, interaction: discord.Interaction, message: discord.Message) -> None:
        """Ask why the reply is reported."""
        if not self._is_reply(message) or interaction.guild_id is None:
            await interaction.response.send_message(tr(NOT_MINE), ephemeral=True, allowed_mentions=SILENT)
            return
        view = discord.ui.View(timeout=None)
        view.add_item(ReasonMenu(message.id))
        await interaction.response.send_message(tr(WHY), view=view, ephemeral=True, allowed_mentions=SILENT)

    def _is_reply(self, message: discord.Message) -> bool:
        """Return whether a message is a reply of the bot, not a note and not a response to a command."""
        mine = message.author.id == self._bot.me and not is_note(message)
        return mine and message.interaction_metadata is None and not message.flags.ephemeral

    @app_commands.command(name="review", description=mark("See my replies that members reported."))
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def review(self, interaction: discord.Interaction) -> None:
        """Show the reports that wait for a decision."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await show_reports(self._bot, interaction)


async def delete_reply(bot: ReviewHost, report: Report) -> bool:
    """Delete all messages of a reply in Discord; return whether that succeeded.

    Stored data are deleted as for every deleted message; the later event from Discord is a duplicate.
    """
    channel = bot.get_partial_messageable(report.channel_id)
    for message_id in report.message_ids:
        try:
            await channel.get_partial_message(message_id).delete()
        except discord.NotFound:
            log.info("a reported reply was deleted already")
        except discord.HTTPException as exc:
            log.warning(
                "a reported reply was not deleted: Discord answered %s (code %s)", exc.status, exc.code
            )
            return False
        bot.inbox.put(Deleted(report.channel_id, message_id))
        bot.reports.drop(message_id)
    await bot.inbox.drain(_WAIT_S)
    return True


async def show_reports(bot: ReviewHost, interaction: discord.Interaction[Any], said: str = "") -> None:
    """Answer a deferred interaction with the waiting reports, below a confirmation."""
    reports, count = await bot.reports.waiting(who_clicked(interaction), SHOWN)
    view = discord.ui.View(timeout=None)
    for place, report in enumerate(reports, start=1):
        for act in ("delete", "dismiss"):
            view.add_item(DecideButton(act, report.message_ids[0], place))
    lines = [said] if said else []
    lines += _lines(reports, count, interaction.guild_id or 0)
    await interaction.edit_original_response(
        content="\n".join(lines), view=view if reports else None, allowed_mentions=SILENT
    )


def _lines(reports: Sequence[Report], count: int, guild_id: int) -> list[str]:
    if not reports:
        return [tr(NOTHING_WAITS)]
    lines = [tr(TITLE, count=count)]
    for number, report in enumerate(reports, start=1):
        link = f"https://discord.com/channels/{guild_id}/{report.channel_id}/{report.message_ids[0]}"
        counted = sorted(report.reasons.items(), key=lambda item: (-item[1], item[0]))
        reasons = list_of(TIMES.format(reason=_words(reason), count=n) for reason, n in counted)
        since = next_hour(report.reported_at)  # the exact moment would tell who was there
        lines.append(tr(LINE, number=number, link=link, reasons=reasons, since=since))
    return lines


def _words(reason: str) -> str:
    return tr(REASONS[Reason(reason) if reason in set(Reason) else Reason.OTHER])


async def setup(bot: ReportsHost) -> None:
    """Load the cog."""
    await bot.add_cog(Reports(bot))
