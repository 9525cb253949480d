"""The ``/feedback`` panel: recorded feedback, what was learnt from it, and the buttons to change both.

It shows only data of the member who asks. Buttons and the menu have their state in their ids, so they work
after a restart; each acts on the data of the member who clicks.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from typing import Any, Self

import discord

from bot.identity import who_clicked
from bot.languages import mark, tr, trn
from bot.messages.posting import SILENT
from bot.ui.charts import replay_picture
from bot.ui.components import PersistentButton, PersistentSelect
from bot.ui.feedback_text import PAUSED, excerpt, panel_lines, signs
from bot.ui.ports import FeedbackHost
from bot.ui.remark_form import RemarkButton
from personalization.insight.taste import Taste
from storage.errors import LearningPaused, UnknownReply
from storage.records import FeedbackSummary, ReplyId, ReplySummary, Who

NOT_AGREED = mark(
    "I do not learn from you yet, so nothing was recorded. `/privacy` shows how it works and lets you agree."
)
NO_REPLY = mark(
    "I have no reply here that you could rate. I only remember replies to members who agreed to it,"
    " from the moment they agreed. Chat with me, then try again."
)
SURE = mark(
    "I will set aside everything I learnt from your reactions, ratings and choices here, and start"
    " learning your taste from scratch. Your reactions in the channels stay where they are. Continue?"
)
TAKEN_BACK = mark("Undone. That choice between two answers no longer counts.")
NOT_THERE = mark("You have already undone that choice.")
STARTED_OVER = mark("Done. I am starting over: only your reactions from now on count.")
SHORT_EXCERPT = 60
SHOWN = 10


class RateButton(PersistentButton, template=r"simpatico:rate:(?P<reply>\d{1,18}):(?P<rating>[0-5])"):
    """A button that rates one reply; rating 0 takes the rating back."""

    def __init__(self, reply_id: ReplyId, rating: int, *, chosen: bool = False) -> None:
        style = discord.ButtonStyle.primary if chosen else discord.ButtonStyle.secondary
        super().__init__(
            discord.ui.Button(
                label="★" * rating if rating else tr("Undo"),
                style=style if rating else discord.ButtonStyle.danger,
                custom_id=f"simpatico:rate:{reply_id}:{rating}",
                row=0 if rating else 1,
            )
        )
        self._reply_id = reply_id
        self._rating = rating

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(ReplyId(int(match["reply"])), int(match["rating"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Record the member's rating, and show it."""
        if (clicked := await clicked_by_who_agreed(interaction)) is None:
            return
        bot, who = clicked
        try:
            await rate(bot, who, self._reply_id, self._rating or None)
        except UnknownReply:
            await interaction.edit_original_response(content=tr(NO_REPLY), view=None)
            return
        except LearningPaused:
            await interaction.followup.send(tr(PAUSED), ephemeral=True)
            return
        await show_panel(bot, interaction, who, self._reply_id)


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


async def clicked_by_who_agreed(interaction: discord.Interaction[Any]) -> tuple[FeedbackHost, Who] | None:
    """Defer the response to a click; if the member did not agree, send a note and return None."""
    await interaction.response.defer(ephemeral=True)
    bot: FeedbackHost = interaction.client
    who = who_clicked(interaction)
    bound = await agreed(bot, interaction, who)
    return None if bound is None else (bot, bound)


async def agreed(bot: FeedbackHost, interaction: discord.Interaction[Any], who: Who) -> Who | None:
    """Return the member, bound to their consent; without consent, send a note on how to agree."""
    bound = await bot.store.consent.bound(who)
    if bound is None:
        await interaction.followup.send(tr(NOT_AGREED), ephemeral=True)
    return bound


async def rate(bot: FeedbackHost, who: Who, reply_id: ReplyId, rating: int | None) -> None:
    """Record a rating, or remove it with None, and count the changed label.

    Raises:
        UnknownReply: The reply is no longer stored.
        LearningPaused: The member paused learning.
        NoConsent: The member does not agree (any more).
    """
    await bot.store.feedback.record_rating(who, reply_id, rating)
    bot.labels_changed(1)


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
    await interaction.edit_original_response(
        content="\n".join(panel_lines(shown, summary, taste, remark)),
        view=_view(shown, summary, disliked=bot.taste.dislikes(shown), remarked=remark is not None),
        attachments=await _pictures(taste, interaction.message),
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
    if summary.n_replies or summary.n_preferences:
        view.add_item(StartOverButton())
    if summary.latest_preference is not None:
        view.add_item(UnpickButton(summary.latest_preference))
    view.add_item(PauseButton(shown.reply_id, "resume" if summary.paused else "pause"))
    if disliked or remarked:
        view.add_item(RemarkButton(shown.reply_id))
    if summary.latest:
        view.add_item(UndoMenu(shown.reply_id, summary.latest))
    return view


async def _pictures(
    taste: Taste, shown: discord.Message | None
) -> list[discord.File] | list[discord.Attachment]:
    """Return the chart under the panel; the existing attachment is kept while its content is the same."""
    if taste.replay is None:
        return []
    described = trn(
        "Of your latest {n} reaction, my picture of your taste would have predicted {own} correctly."
        " What most people like would have predicted {average}.",
        "Of your latest {n} reactions, my picture of your taste would have predicted {own} correctly."
        " What most people like would have predicted {average}.",
        len(taste.replay.own),
        own=taste.replay.own.sum(),
        average=taste.replay.average.sum(),
    )
    drawn = hashlib.sha256(taste.replay.own.tobytes() + taste.replay.average.tobytes() + described.encode())
    name = f"predictions-{drawn.hexdigest()[:12]}.png"
    if there := [one for one in (shown.attachments if shown else ()) if one.filename == name]:
        return there
    png = await asyncio.to_thread(replay_picture, taste.replay.own, taste.replay.average)
    return [discord.File(io.BytesIO(png), name, description=described)]
