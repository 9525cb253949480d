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
from bot.ui.feedback_text import PAUSED, excerpt, kind_lines, page_of, panel_lines, signs
from bot.ui.ports import FeedbackHost
from bot.ui.remark_form import RemarkButton
from bot.ui.style_panel import LearntMenu
from bot.ui.taste_text import offer_lines
from storage.errors import LearningPaused, UnknownReply
from storage.records import NOWHERE, FeedbackSummary, ReplyId, ReplySummary, Who

NO_REPLY = mark(
    "I have no reply here that you could rate. I only remember replies to members who agreed to it,"
    " from the moment they agreed. Chat with me, then try again."
)
ANY_REPLY = mark("How do you like this reply?")
THANKS = mark(
    "Thank you. I keep your rating if I may. `/feedback` lists only replies to you; `/my-data` shows all that"
    " I keep."
)
UNRATED = mark("Undone. I keep no rating of yours for this reply.")
SURE = mark(
    "I will set aside everything I learnt from your reactions, ratings and choices here, and start"
    " learning your taste from scratch. Your reactions in the channels stay where they are. Continue?"
)
TAKEN_BACK = mark("Undone. That choice between two answers no longer counts.")
NOT_THERE = mark("You have already undone that choice.")
STARTED_OVER = mark("Done. I am starting over: only your reactions from now on count.")
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
            await interaction.edit_original_response(content=tr(NO_REPLY), view=None)
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


class UnpickButton(PersistentButton, template=r"simpatico:unpick:(?P<preference>\d{1,18})"):
    """A button that undoes one choice between two answers."""

    def __init__(self, preference_id: int) -> None:
        super().__init__(
            discord.ui.Button(
                label=tr("Undo last choice"),
                style=discord.ButtonStyle.danger,
                custom_id=f"simpatico:unpick:{preference_id}",
                row=1,
            )
        )
        self._preference_id = preference_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(int(match["preference"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Undo the member's choice."""
        if (clicked := await clicked_by_who_agreed(interaction)) is None:
            return
        bot, who = clicked
        undone = await bot.store.preferences.undo(who, self._preference_id)
        bot.labels_changed(int(undone))
        await interaction.followup.send(tr(TAKEN_BACK if undone else NOT_THERE), ephemeral=True)


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
        await interaction.edit_original_response(content=tr(NO_REPLY), view=None)
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
    bot: FeedbackHost, interaction: discord.Interaction, who: Who, reply_id: ReplyId
) -> None:
    """Answer a deferred interaction with the panel: one reply, and everything that was learnt."""
    shown = await bot.store.replies.summary(who, reply_id)
    if shown is None:
        await interaction.edit_original_response(content=tr(NO_REPLY), view=None)
        return
    summary = await bot.store.feedback.summary(who, SHOWN)
    taste = await bot.taste.taste(bot.store.member_id(who))
    remark = await bot.store.remarks.of(who, reply_id)
    kinds = await bot.arms.kinds(bot.store.member_id(who), bot.store.guild_id(who))
    wish, known = await bot.store.wishes.of(who), await bot.responder.offers.known(who)
    view = _view(shown, summary, disliked=bot.taste.dislikes(shown), remarked=remark is not None)
    if names_of(known) or wish.unwanted:
        view.add_item(OffersMenu(reply_id, known, wish))
    extras = [*offer_lines(known, wish), *kind_lines(kinds)]
    await interaction.edit_original_response(
        content=page_of(panel_lines(shown, summary, taste, remark), extras),
        view=view,
        attachments=await attachments_of(taste.replay, interaction.message),
        allowed_mentions=SILENT,
    )


def _view(
    shown: ReplySummary, summary: FeedbackSummary, *, disliked: bool, remarked: bool
) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for stars in range(1, 6):
        view.add_item(RateButton(shown.reply_id, stars, chosen=stars == shown.rating))
    if shown.rating is not None:
        view.add_item(RateButton(shown.reply_id, 0))
    view.add_item(StartOverButton())
    if summary.latest_preference is not None:
        view.add_item(UnpickButton(summary.latest_preference))
    view.add_item(PauseButton(shown.reply_id, "resume" if summary.paused else "pause"))
    if disliked or remarked:
        view.add_item(RemarkButton(shown.reply_id))
    if summary.latest:
        view.add_item(UndoMenu(shown.reply_id, summary.latest))
    return view
