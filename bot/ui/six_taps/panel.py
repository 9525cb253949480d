"""The page of the six taps: two texts of the bot's own, and the buttons that choose between them.

Only the member sees the page, and each button acts on the data of the member who presses. The state is in the
ids of the buttons, so they work after a restart: the language, the pairs that were shown so far, and the
number of the row. A pair counts once in a row of taps, so a second press on it records nothing. A forged id
can only answer pairs that ship, each of them once.

An answer holds the number of its row. So of several open pages each counts and undoes its own answers alone.
If the pair was answered elsewhere since the row began, that answer stays, and the page says so. An undo goes
back to the latest pair that was answered in the row, whatever was shown or skipped since. If the member had
answered that pair in an earlier row, the earlier answer counts again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self, cast

import discord

from bot.identity import who_clicked
from bot.languages import current_language, mark, sentences_of, tr, trn
from bot.messages.posting import SILENT
from bot.replies.six_taps.asking import TAPS, SixTaps
from bot.replies.six_taps.texts import LANGUAGE_NAMES, Pair, pairs_in
from bot.ui.components import NOT_AGREED, PersistentButton, clicked_by_who_agreed
from bot.ui.feedback_text import EARLIER_AGAIN, PAUSED
from bot.ui.ports import FeedbackHost
from storage.errors import LearningPaused, NoConsent
from storage.records import Picked, Who

OFFER = mark("Show me in six taps")
ASK = mark("**{n} of {total}.** Which of these two answers do you like better? Only you see this.")
TO = mark("**Somebody writes:** {message}")
DONE = mark("**Thank you!** {recorded} That counts from my next reply to you here.")
NOTHING = mark("I recorded nothing. You can try again whenever you like, in `/style`.")
LATER = mark(
    "`/feedback` shows what I recorded and undoes it, one choice at a time. You can do this again in"
    " `/style`."
)
ALL_UNDONE = mark("Undone. None of these choices counts any more.")
NOT_RECORDED = mark(
    "I did not record that press. You had already chosen between those two answers after you opened this"
    " page, and that choice counts."
)

Action = Literal["first", "second", "equal", "skip", "back", "stop", "none"]

_LABELS: dict[Action, str] = {
    "equal": mark("No matter"),
    "skip": mark("Skip"),
    "back": mark("Undo last choice"),
    "stop": mark("Stop"),
    "none": mark("Undo all"),
}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Letter of a pair in the id of a button, by its place among all pairs."""
_sides = random.Random()
"""Assigns sides A and B, so that a preference for the first place teaches nothing."""


class TapsHost(FeedbackHost, Protocol):
    """What the six taps need of the client."""

    @property
    def six_taps(self) -> SixTaps:
        """Chooses pairs and records answers."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """The taps so far.

    Attributes:
        since: Number of the row; no other row has it, and each choice in it has a larger one.
        language: Language of the texts.
        shown: Letters of the pairs that were shown, the latest last.
    """

    since: int
    language: str
    shown: str

    def id_of(self, action: Action) -> str:
        """Return the custom id of a button, of at most 100 characters."""
        return f"simpatico:tap:{action}:{self.since}:{self.language}:{self.shown}"

    @property
    def pairs(self) -> Sequence[Pair]:
        """The pairs that were shown."""
        known = pairs_in(self.language)
        return [known[_LETTERS.index(letter)] for letter in self.shown]

    def and_then(self, pair: Pair) -> Row:
        """Return the row with one more pair."""
        letter = _LETTERS[pairs_in(self.language).index(pair)]
        return replace(self, shown=self.shown + letter)

    def back_to(self, answered: Collection[Pair]) -> Row | None:
        """Return the row that ends with the latest answered pair; None without an answer."""
        ends = [n for n, pair in enumerate(self.pairs, start=1) if pair in answered]
        return replace(self, shown=self.shown[: ends[-1]]) if ends else None


class OfferButton(PersistentButton, template=r"simpatico:taps"):
    """The button that begins the six taps."""

    def __init__(self, row: int | None = None) -> None:
        super().__init__(
            discord.ui.Button(
                label=tr(OFFER), style=discord.ButtonStyle.primary, custom_id="simpatico:taps", row=row
            )
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls()

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Show the first pair in a message of its own, which only the member sees."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        bot: TapsHost = interaction.client
        who = await bot.store.consent.bound(who_clicked(interaction))
        if who is None:
            await interaction.edit_original_response(content=tr(NOT_AGREED))
        elif await bot.store.pauses.is_paused(who):
            await interaction.edit_original_response(content=tr(PAUSED))
        else:
            row = Row(await bot.six_taps.begin(), current_language(), "")
            await _show_next(interaction, bot, who, row)


class TapButton(
    PersistentButton,
    template=r"simpatico:tap:(?P<action>first|second|equal|skip|back|stop|none)"
    rf":(?P<since>\d{{1,18}}):(?P<language>{'|'.join(LANGUAGE_NAMES)}):(?P<shown>[a-r]{{1,{TAPS}}})",
):
    """A button under a pair or at the end.

    ``back`` holds the row to go back to, which ends with the pair to ask again. ``none`` takes back all
    answers of the row.
    """

    def __init__(self, row: Row, action: Action, label: str, style: discord.ButtonStyle, at: int = 0) -> None:
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=row.id_of(action), row=at))
        self._taps, self._action = row, action

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        row = Row(int(match["since"]), match["language"], match["shown"])
        return cls(row, cast(Action, match["action"]), "", discord.ButtonStyle.secondary)

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Record the answer and show the next pair, or go back, or end, or take all answers back."""
        if (clicked := await clicked_by_who_agreed(interaction)) is None:
            return
        _, who = clicked
        bot: TapsHost = interaction.client
        row, pair, note = self._taps, self._taps.pairs[-1], ""
        try:
            match self._action:
                case "back":
                    undone = await bot.six_taps.undo(who, [pair], since=row.since)
                    bot.labels_changed(undone.n)
                    await _show(interaction, bot, who, row)
                    return
                case "none":
                    await _undo_all(interaction, bot, who, row)
                    return
                case "stop":
                    await _show_end(interaction, bot, who, row)
                    return
                case "skip":
                    pass
                case picked:
                    note = await _record(bot, who, row, Picked(picked))
        except NoConsent:  # forgotten since the press
            await interaction.edit_original_response(content=tr(NOT_AGREED), embeds=[], view=None)
            return
        except LearningPaused:
            await interaction.edit_original_response(content=tr(PAUSED), embeds=[], view=None)
            return
        await _show_next(interaction, bot, who, row, note)


def offer() -> discord.ui.View:
    """Return the button that begins the six taps."""
    view = discord.ui.View(timeout=None)
    view.add_item(OfferButton())
    return view


async def _record(bot: TapsHost, who: Who, row: Row, picked: Picked) -> str:
    """Record an answer to the latest pair of a row; return a note if another answer counts instead."""
    pair = row.pairs[-1]
    recorded = await bot.six_taps.record(who, row.language, pair, picked, since=row.since)
    bot.labels_changed(int(recorded))
    if recorded:
        return ""
    own = await bot.six_taps.answered(who, [pair], since=row.since)
    return "" if own.get(pair) is picked else f"{tr(NOT_RECORDED)}\n"  # the same twice is a double click


async def _show_next(
    interaction: discord.Interaction[Any], bot: TapsHost, who: Who, row: Row, note: str = ""
) -> None:
    """Show the pair that teaches most, or the end after the last one; above it a note."""
    pair = None
    if len(row.shown) < TAPS:
        pair = await bot.six_taps.next_pair(who, row.language, [one.name for one in row.pairs])
    if pair is None:
        await _show_end(interaction, bot, who, row, note)
    else:
        await _show(interaction, bot, who, row.and_then(pair), note)


async def _show(
    interaction: discord.Interaction[Any], bot: TapsHost, who: Who, row: Row, note: str = ""
) -> None:
    """Show the latest pair of a row, with its buttons."""
    pair, secondary = row.pairs[-1], discord.ButtonStyle.secondary
    sides: list[tuple[Action, str]] = [("first", pair.less), ("second", pair.more)]
    _sides.shuffle(sides)
    view = discord.ui.View(timeout=None)
    for name, (action, _) in zip("AB", sides, strict=True):
        view.add_item(TapButton(row, action, name, discord.ButtonStyle.primary))
    view.add_item(TapButton(row, "equal", tr(_LABELS["equal"]), secondary))
    view.add_item(TapButton(row, "skip", tr(_LABELS["skip"]), secondary, 1))
    if to := row.back_to(await bot.six_taps.answered(who, row.pairs[:-1], since=row.since)):
        view.add_item(_undo(to, "back"))
    view.add_item(TapButton(row, "stop", tr(_LABELS["stop"]), secondary, 1))
    asked = tr(ASK, n=len(row.shown), total=TAPS)
    await interaction.edit_original_response(
        content=f"{note}{asked}\n{tr(TO, message=pair.message)}",
        embeds=[
            discord.Embed(title=name, description=text) for name, (_, text) in zip("AB", sides, strict=True)
        ],
        view=view,
        allowed_mentions=SILENT,
    )


async def _show_end(
    interaction: discord.Interaction[Any], bot: TapsHost, who: Who, row: Row, note: str = ""
) -> None:
    """Show what was recorded."""
    answered = await bot.six_taps.answered(who, row.pairs, since=row.since)
    n, to = len(answered), row.back_to(answered)
    recorded = trn("I recorded {n} choice.", "I recorded {n} choices.", n)
    done = tr(DONE, recorded=recorded) if n else tr(NOTHING)
    view = offer()
    if to is not None:
        view.add_item(_undo(to, "back"))
        if n > 1:
            view.add_item(_undo(row, "none"))
    said = sentences_of(done, tr(LATER)) if n else done
    await interaction.edit_original_response(content=f"{note}{said}", embeds=[], view=view)


async def _undo_all(interaction: discord.Interaction[Any], bot: TapsHost, who: Who, row: Row) -> None:
    """Take back all answers of a row, and say whether earlier ones count again."""
    undone = await bot.six_taps.undo(who, row.pairs, since=row.since)
    bot.labels_changed(undone.n)
    said = sentences_of(tr(ALL_UNDONE), tr(EARLIER_AGAIN)) if undone.again else tr(ALL_UNDONE)
    await interaction.edit_original_response(content=said, embeds=[], view=offer())


def _undo(row: Row, action: Literal["back", "none"]) -> TapButton:
    return TapButton(row, action, tr(_LABELS[action]), discord.ButtonStyle.danger, 1)
