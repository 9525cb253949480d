"""The ``/feedback`` panel: what was recorded, what came of it, and the buttons to change both.

Everything in it is the asking member's own. Buttons and the menu carry their state in their ids, so they work
after a restart; each acts for whoever clicks, on what is theirs.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from typing import Any, Self

import discord

from bot.buttons import PersistentButton, PersistentSelect
from bot.client import SimpaticoBot
from bot.identity import who_clicked
from bot.pictures import replay_picture
from bot.posting import SILENT
from bot.wording import taste_lines
from personalization.taste import Taste
from storage.errors import UnknownReply
from storage.records import Consent, FeedbackSummary, HeadSummary, ReplyId, ReplySummary, Who

NOT_AGREED = (
    "I do not learn from you yet, so nothing was recorded. `/privacy` shows how it works and lets you agree."
)
NO_REPLY = (
    "I have no reply here that I could learn from. I remember replies to members who agreed to it, from the"
    " moment they agreed. Talk to me, then try again."
)
SURE = (
    "Then everything your reactions and ratings here taught me is put aside, and I start to learn your taste"
    " anew. Your reactions in the channels stay where they are. Go on?"
)
STARTED_OVER = "Done. I start anew: what you react to from now on is what counts."
EXCERPT = 200
SHORT_EXCERPT = 60
SHOWN = 10


class RateButton(PersistentButton, template=r"simpatico:rate:(?P<reply>\d{1,18}):(?P<rating>[0-5])"):
    """A button that rates one reply; rating 0 takes the rating back."""

    def __init__(self, reply_id: ReplyId, rating: int, *, chosen: bool = False) -> None:
        style = discord.ButtonStyle.primary if chosen else discord.ButtonStyle.secondary
        super().__init__(
            discord.ui.Button(
                label="★" * rating if rating else "Undo",
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
        """Record the rating of whoever clicks, and show it."""
        if (clicked := await clicked_by_who_agreed(interaction)) is None:
            return
        bot, who = clicked
        try:
            await rate(bot, who, self._reply_id, self._rating or None)
        except UnknownReply:
            await interaction.edit_original_response(content=NO_REPLY, view=None)
            return
        await show_panel(bot, interaction, who, self._reply_id)


class UndoMenu(PersistentSelect, template=r"simpatico:undo:(?P<reply>\d{1,18})"):
    """A menu of the latest feedback; what is chosen says nothing any more.

    Args:
        shown: The reply the panel is about.
        latest: What may be undone, newest first.
    """

    def __init__(self, shown: ReplyId, latest: tuple[ReplySummary, ...] = ()) -> None:
        options = [
            discord.SelectOption(
                label=re.sub(r"<:emoji:\d+>", "custom emoji", _signs(one))[:100],
                description=_excerpt(one, SHORT_EXCERPT),
                value=str(one.reply_id),
            )
            for one in latest
        ]
        super().__init__(
            discord.ui.Select(
                custom_id=f"simpatico:undo:{shown}",
                placeholder="Undo something I recorded",
                options=options or [discord.SelectOption(label="Nothing to undo", value="0")],
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
        """Undo what was chosen, and show the panel anew."""
        if (clicked := await clicked_by_who_agreed(interaction)) is None:
            return
        bot, who = clicked
        if re.fullmatch(r"\d{1,18}", value, re.ASCII):  # else it is none of ours
            bot.labels_changed(int(await bot.store.undo_feedback(who, ReplyId(int(value)))))
        await show_panel(bot, interaction, who, self._shown)


class StartOverButton(PersistentButton, template=r"simpatico:over:(?P<step>ask|do)"):
    """Asks once, then puts all that was learnt of whoever clicks aside."""

    def __init__(self, step: str = "ask") -> None:
        super().__init__(
            discord.ui.Button(
                label="Start over" if step == "ask" else "Yes, start over",
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
            await interaction.followup.send(SURE, view=view, ephemeral=True)
            return
        changed = await bot.store.start_over(who)
        bot.ranker.drop([bot.store.member_id(who)])
        bot.labels_changed(changed)
        await interaction.edit_original_response(content=STARTED_OVER, view=None)


async def clicked_by_who_agreed(interaction: discord.Interaction[Any]) -> tuple[SimpaticoBot, Who] | None:
    """Defer the answer to a click; None when the member did not agree, which they are told."""
    await interaction.response.defer(ephemeral=True)
    bot: SimpaticoBot = interaction.client
    who = who_clicked(interaction)
    return (bot, who) if await agreed(bot, interaction, who) else None


async def agreed(bot: SimpaticoBot, interaction: discord.Interaction[Any], who: Who) -> bool:
    """Whether the member agreed; tells them how to when not."""
    if await bot.store.consent_of(who) is Consent.AGREED:
        return True
    await interaction.followup.send(NOT_AGREED, ephemeral=True)
    return False


async def rate(bot: SimpaticoBot, who: Who, reply_id: ReplyId, rating: int | None) -> None:
    """Record a rating, or take it back with None, and let the scheduler know.

    Raises:
        UnknownReply: The reply is no longer stored.
        NoConsent: The member does not agree (any more).
    """
    await bot.store.record_rating(who, reply_id, rating)
    bot.labels_changed(1)


async def show_panel(
    bot: SimpaticoBot, interaction: discord.Interaction, who: Who, reply_id: ReplyId
) -> None:
    """Answer a deferred interaction with the panel about one reply and all that was learnt."""
    shown = await bot.store.reply_summary(who, reply_id)
    if shown is None:
        await interaction.edit_original_response(content=NO_REPLY, view=None)
        return
    summary = await bot.store.feedback_summary(who, SHOWN)
    taste = await bot.taste.taste(bot.store.member_id(who))
    await interaction.edit_original_response(
        content="\n".join(_lines(shown, summary, taste)),
        view=_view(shown, summary),
        attachments=await _pictures(taste, interaction.message),
        allowed_mentions=SILENT,
    )


def _lines(shown: ReplySummary, summary: FeedbackSummary, taste: Taste) -> list[str]:
    lines = []
    if shown.text is not None:
        lines.append(f"> {_excerpt(shown, EXCERPT)}\n")
    lines.append(f"Your reactions: {' '.join(map(_emoji, shown.reactions)) or 'none'}")
    lines.append(f"Your rating: {shown.rating} of 5" if shown.rating else "Your rating: none yet")
    lines.append(f"\n**What I recorded of you here:** {_recorded(summary, taste)}")
    lines.append(f"**Your own ranking:** {_in_use(summary.head)}")
    lines.append("**What you seem to like:**")
    lines += taste_lines(taste)
    return lines


def _recorded(summary: FeedbackSummary, taste: Taste) -> str:
    if not taste.n_labels:
        return "nothing that tells me what you like, yet."
    replies = "one reply" if taste.n_labels == 1 else f"{taste.n_labels} replies"
    latest = " · ".join(_signs(one) for one in summary.latest[:5])
    return f"feedback on {replies}, {taste.n_liked} of them liked." + (f" Lately: {latest}" if latest else "")


def _in_use(head: HeadSummary | None) -> str:
    if head is None:
        return "not yet; the next training round makes it from your feedback."
    since = f"<t:{int(head.trained_at.timestamp())}:R>"
    if head.rolled_back:
        return (
            f"set aside {since}: it did not predict your reactions better than what most people like, so that"
            " ranks for you until it does."
        )
    return f"in use, from {head.n_labels} labels, last trained {since}."


def _view(shown: ReplySummary, summary: FeedbackSummary) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for stars in range(1, 6):
        view.add_item(RateButton(shown.reply_id, stars, chosen=stars == shown.rating))
    if shown.rating is not None:
        view.add_item(RateButton(shown.reply_id, 0))
    if summary.n_replies:
        view.add_item(StartOverButton())
    if summary.latest:
        view.add_item(UndoMenu(shown.reply_id, summary.latest))
    return view


async def _pictures(
    taste: Taste, shown: discord.Message | None
) -> list[discord.File] | list[discord.Attachment]:
    """The picture under the panel; the one that is there stays while it shows the same."""
    if taste.replay is None:
        return []
    drawn = hashlib.sha256(taste.replay.own.tobytes() + taste.replay.average.tobytes())
    name = f"predictions-{drawn.hexdigest()[:12]}.png"
    if there := [one for one in (shown.attachments if shown else ()) if one.filename == name]:
        return there
    png = await asyncio.to_thread(replay_picture, taste.replay.own, taste.replay.average)
    described = (
        f"Of your latest {len(taste.replay.own)} reactions my picture of your taste would have predicted"
        f" {taste.replay.own.sum()} right, what most people like {taste.replay.average.sum()}."
    )
    return [discord.File(io.BytesIO(png), name, description=described)]


def _signs(one: ReplySummary) -> str:
    rating = [f"{one.rating} of 5"] if one.rating else []
    return " ".join([*map(_emoji, one.reactions), *rating])


def _excerpt(one: ReplySummary, longest: int) -> str:
    text = " ".join((one.text or "a reply whose text is no longer kept").split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _emoji(key: str) -> str:
    """Write a stored emoji so that Discord shows it; custom ones are stored by id alone."""
    return f"<:emoji{key}>" if key.startswith(":") else key
