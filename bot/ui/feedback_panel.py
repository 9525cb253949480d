"""The ``/feedback`` panel: recorded feedback, what was learnt from it, and the buttons to change both.

It lists only feedback on replies to the member who asks. Buttons and the menu have their state in their ids,
so they work after a restart; each acts on the data of the member who clicks.
"""

from __future__ import annotations

import re
from typing import Any, Self

import discord

from bot.languages import mark, tr
from bot.messages.posting import SILENT
from bot.replies.offers import names_of
from bot.ui.charts import attachments_of
from bot.ui.components import (
    ABOUT,
    PersistentButton,
    PersistentSelect,
    about,
    clicked_by_who_agreed,
    record_quietly,
)
from bot.ui.feedback_text import (
    PAUSED,
    excerpt,
    kind_lines,
    page_of,
    panel_lines,
    signs,
    undone_line,
)
from bot.ui.ports import FeedbackHost
from bot.ui.remark_form import RemarkButton
from bot.ui.start_over import StartOverButton
from bot.ui.style_panel import LearntMenu
from bot.ui.taste_text import offer_lines
from storage.errors import LearningPaused, UnknownReply
from storage.records import NOWHERE, FeedbackSummary, ReplyId, ReplySummary, Who

ANY_REPLY = mark("How do you like this reply?")
THANKS = mark(
    "Thank you. I keep your rating if I may. `/feedback` lists only replies to you; `/my-data` shows all that"
    " I keep."
)
UNRATED = mark("Undone. I keep no rating of yours for this reply.")
TAKEN_BACK = mark("Undone. That choice between two answers no longer counts.")
NOT_THERE = mark("You have already undone that choice.")
_MOST_CHOICES = 50
"""Latest choices among which the undone one is looked up, to name it."""
SHORT_EXCERPT = 60
SHOWN = 10


class RateButton(PersistentButton, template=rf"simpatico:rate:{ABOUT}:(?P<rating>[0-5])"):
    """A button that rates one reply; rating 0 takes the rating back."""

    def __init__(self, about: ReplyId | str, rating: int, *, chosen: bool = False) -> None:
        style = discord.ButtonStyle.primary if chosen else discord.ButtonStyle.secondary
        super().__init__(
            discord.ui.Button(
                label="★" * rating if rating else tr("Undo"),
                style=style if rating else discord.ButtonStyle.danger,
                custom_id=f"simpatico:rate:{about}:{rating}",
                row=0 if rating else 1,
            )
        )
        self._about = about
        self._rating = rating

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(about(match), int(match["rating"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Record the member's rating, and show it if the reply answers this member."""
        if (clicked := await clicked_by_who_agreed(interaction)) is None:
            return
        bot, who = clicked
        rating = self._rating or None
        if rating is not None and await bot.store.pauses.is_paused(who):
            await interaction.followup.send(tr(PAUSED), ephemeral=True)
        elif isinstance(self._about, str):
            said = tr(UNRATED if rating is None else THANKS)
            await interaction.edit_original_response(content=said, view=_view_of_any(self._about))
            await record_quietly(bot, self._about, lambda reply_id: rate(bot, who, reply_id, rating))
        elif await bot.store.replies.summary(who, self._about) is None:
            await show_panel(bot, interaction, who, NOWHERE)
        else:
            await rate_own(bot, interaction, who, self._about, rating)


class UndoMenu(PersistentSelect, template=r"simpatico:undo:(?P<reply>\d{1,18})"):
    """A menu of the latest feedback; the chosen one is undone.

    Args:
        shown: The reply the panel is about.
        latest: Feedback that can be undone, newest first.
    """

    def __init__(self, shown: ReplyId, latest: tuple[ReplySummary, ...] = ()) -> None:
        options = [
            discord.SelectOption(
                label=re.sub(r"<:emoji:\d+>", tr("custom emoji"), signs(one))[:100],
                description=excerpt(one, SHORT_EXCERPT),
                value=str(one.reply_id),
            )
            for one in latest
        ]
        super().__init__(
            discord.ui.Select(
                custom_id=f"simpatico:undo:{shown}",
                placeholder=tr("Undo something I recorded"),
                options=options or [discord.SelectOption(label=tr("Nothing to undo"), value="0")],
                row=2,
            )
        )
        self._shown = shown

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the menu from its id."""
        return cls(ReplyId(int(match["reply"])))

    async def choose(self, interaction: discord.Interaction[Any], value: str) -> None:
        """Undo the chosen feedback, and show the panel again."""
        if (clicked := await clicked_by_who_agreed(interaction)) is None:
            return
        bot, who = clicked
        if re.fullmatch(r"\d{1,18}", value, re.ASCII):  # any other value is not ours
            bot.labels_changed(int(await bot.store.feedback.undo(who, ReplyId(int(value)))))
        await show_panel(bot, interaction, who, self._shown)


class PauseButton(PersistentButton, template=r"simpatico:learning:(?P<to>pause|resume):(?P<reply>\d{1,18})"):
    """Pauses or resumes learning for the member.

    Args:
        shown: The reply the panel is about.
        to: ``pause`` or ``resume``.
    """

    def __init__(self, shown: ReplyId, to: str) -> None:
        super().__init__(
            discord.ui.Button(
                label=tr("Pause learning") if to == "pause" else tr("Resume learning"),
                style=discord.ButtonStyle.secondary if to == "pause" else discord.ButtonStyle.success,
                custom_id=f"simpatico:learning:{to}:{shown}",
                row=1,
            )
        )
        self._shown, self._to = shown, to

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(ReplyId(int(match["reply"])), match["to"])

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Pause or resume, and show the panel again."""
        if (clicked := await clicked_by_who_agreed(interaction)) is None:
            return
        bot, who = clicked
        await (bot.store.pauses.pause(who) if self._to == "pause" else bot.store.pauses.resume(who))
        await show_panel(bot, interaction, who, self._shown)


class OffersMenu(LearntMenu, template=r"simpatico:learnt:(?P<reply>\d{1,18})"):
    """The menu of what taste changes in replies, on this panel."""

    async def choose(self, interaction: discord.Interaction[Any], value: str) -> None:
        """Switch off what is not chosen, and show the panel again."""
        if (clicked := await clicked_by_who_agreed(interaction)) is None:
            return
        bot, who = clicked
        await self.switch(interaction, who)
        await show_panel(bot, interaction, who, self.shown)


class UnpickButton(
    PersistentButton, template=r"simpatico:unpick:(?P<preference>\d{1,18})(?::(?P<reply>\d{1,18}))?"
):
    """A button that undoes one choice between two answers.

    Its id names the choice, so a second press of the same button undoes nothing more.

    Args:
        preference_id: Number of the choice.
        shown: The reply that the panel with the button is about; None if the button stands elsewhere.
    """

    def __init__(self, preference_id: int, shown: ReplyId | None = None) -> None:
        super().__init__(
            discord.ui.Button(
                label=tr("Undo last choice"),
                style=discord.ButtonStyle.danger,
                custom_id=f"simpatico:unpick:{preference_id}" + ("" if shown is None else f":{shown}"),
                row=1,
            )
        )
        self._preference_id, self._shown = preference_id, shown

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(int(match["preference"]), None if match["reply"] is None else ReplyId(int(match["reply"])))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Undo the member's choice, and show the panel again, whose button undoes the next one."""
        if (clicked := await clicked_by_who_agreed(interaction)) is None:
            return
        bot, who = clicked
        member_id = bot.store.member_id(who)
        known = (await bot.store.preferences.of([member_id], _MOST_CHOICES))[member_id]
        undone = await bot.store.preferences.undo(who, self._preference_id)
        bot.labels_changed(int(undone))
        if self._shown is None:
            await interaction.followup.send(tr(TAKEN_BACK if undone else NOT_THERE), ephemeral=True)
            return
        told = [undone_line(one) for one in known if undone and one.preference_id == self._preference_id]
        note = told[0] if told else tr(TAKEN_BACK if undone else NOT_THERE)
        await show_panel(bot, interaction, who, self._shown, note=note)


async def rate(bot: FeedbackHost, who: Who, reply_id: ReplyId, rating: int | None) -> None:
    """Record a rating, or remove it with None, and count the changed label.

    Raises:
        UnknownReply: The reply is no longer stored.
        LearningPaused: The member paused learning.
        NoConsent: The member does not agree (any more).
    """
    await bot.store.feedback.record_rating(who, reply_id, rating)
    bot.labels_changed(1)


async def rate_own(
    bot: FeedbackHost, interaction: discord.Interaction[Any], who: Who, reply_id: ReplyId, rating: int | None
) -> None:
    """Rate a reply to this member, and show the panel; say so if learning is paused."""
    try:
        await rate(bot, who, reply_id, rating)
    except LearningPaused:
        await interaction.followup.send(tr(PAUSED), ephemeral=True)
    except UnknownReply:
        await show_panel(bot, interaction, who, NOWHERE)
    else:
        await show_panel(bot, interaction, who, reply_id)


async def show_any_reply(
    bot: FeedbackHost, interaction: discord.Interaction, who: Who, message_id: int
) -> None:
    """Answer a deferred interaction about any reply of the bot.

    For a reply to somebody else and one that is not stored, the answer is the same, after the same look-ups.
    Otherwise it would tell whether the asker of that reply agreed.
    """
    reply_id = await bot.store.replies.of_message(message_id)
    own = await bot.store.replies.summary(who, NOWHERE if reply_id is None else reply_id)
    if own is None:
        view = _view_of_any(f"m{message_id}")
        await interaction.edit_original_response(content=tr(ANY_REPLY), view=view)
        return
    await show_panel(bot, interaction, who, own.reply_id)


def _view_of_any(about: str) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for stars in range(1, 6):
        view.add_item(RateButton(about, stars))
    view.add_item(RateButton(about, 0))
    view.add_item(RemarkButton(about))
    return view


async def show_panel(
    bot: FeedbackHost, interaction: discord.Interaction, who: Who, reply_id: ReplyId, *, note: str = ""
) -> None:
    """Answer a deferred interaction with the panel: one reply, and everything that was learnt.

    Args:
        bot: The bot.
        interaction: The interaction.
        who: The member, who agreed.
        reply_id: A reply to the member. If it is not stored (any more), the panel is shown without a reply.
        note: What has just been done.
    """
    member_id = bot.store.member_id(who)
    shown = await bot.store.replies.summary(who, reply_id)
    summary = await bot.store.feedback.summary(who, SHOWN)
    taste = await bot.taste.taste(member_id)
    remark = None if shown is None else await bot.store.remarks.of(who, reply_id)
    newest = (await bot.store.preferences.of([member_id], 1))[member_id]
    latest = next((one for one in newest if one.preference_id == summary.latest_preference), None)
    kinds = await bot.arms.kinds(member_id, bot.store.guild_id(who))
    wish, known = await bot.store.wishes.of(who), await bot.responder.offers.known(who)
    remarkable = shown is not None and (remark is not None or bot.taste.dislikes(shown))
    view = _view(shown, summary, remarkable=remarkable)
    if names_of(known) or wish.unwanted:
        view.add_item(OffersMenu(NOWHERE if shown is None else reply_id, known, wish))
    lines = [*([note] if note else []), *panel_lines(shown, summary, taste, remark, latest=latest)]
    extras = [*offer_lines(known, wish), *kind_lines(kinds)]
    await interaction.edit_original_response(
        content=page_of(lines, extras),
        view=view,
        attachments=await attachments_of(taste.replay, interaction.message),
        allowed_mentions=SILENT,
    )


def _view(shown: ReplySummary | None, summary: FeedbackSummary, *, remarkable: bool) -> discord.ui.View:
    view, reply_id = discord.ui.View(timeout=None), NOWHERE if shown is None else shown.reply_id
    if shown is not None:
        for stars in range(1, 6):
            view.add_item(RateButton(reply_id, stars, chosen=stars == shown.rating))
        if shown.rating is not None:
            view.add_item(RateButton(reply_id, 0))
    view.add_item(StartOverButton())
    if summary.latest_preference is not None:
        view.add_item(UnpickButton(summary.latest_preference, reply_id))
    view.add_item(PauseButton(reply_id, "resume" if summary.paused else "pause"))
    if remarkable:
        view.add_item(RemarkButton(reply_id))
    if summary.latest:
        view.add_item(UndoMenu(reply_id, summary.latest))
    return view
