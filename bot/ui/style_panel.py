"""Style page: the member's wishes, a menu of presets, and a button to clear them.

Used by ``/style``. What a wish changes in a reply is defined in :mod:`bot.replies.style_wishes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, Self, cast

import discord

from bot.identity import asker_of, who_clicked
from bot.languages import list_of, mark, tr
from bot.messages.markdown import escaped
from bot.replies.offers import EXAMPLES, NO_OFFERS, Offers, names_of
from bot.replies.style_wishes import (
    MOST_CHARACTERS,
    PRESETS,
    labels_of,
    with_presets,
    with_words,
    without_asking,
)
from bot.ui.components import PersistentButton, PersistentSelect, has_helped
from bot.ui.errors import answer_error
from bot.ui.ports import Host, StyleHost
from bot.ui.six_taps.panel import OfferButton
from bot.ui.taste_text import offer_called
from personalization.encoding.style_axes import AXIS_OF
from storage.members.wishes import NO_WISH, Wish
from storage.records import Consent, ReplyId, Who

TITLE = mark("**How I write to you here**")

NOTHING = mark("You have not told me how to write to you, so I go by what I learn from your reactions.")

PRESETS_CHOSEN = mark("You chose: {presets}.")

IN_YOUR_WORDS = mark("In your own words: {words}")

FOLLOWED = mark(
    "I will follow this from my next reply to you, as well as I can. I also keep learning from your"
    " reactions."
)

KEPT = mark(
    "I keep it encrypted with your own key, for this server only, until you clear it, stop learning"
    " here or use `/forget-me`."
)

STAYS_OFF = mark(
    "What you switched off in `/feedback` stays off until you switch it on there, stop learning here or use"
    " `/forget-me`. *Clear* does not change it."
)

REMEMBERED = mark(
    "You have not agreed that I keep anything about you, so I remember this only until I restart. You"
    " can agree in `/privacy`."
)

MENU = mark("Choose as many as you like")

BUTTONS: dict[str, tuple[str, discord.ButtonStyle]] = {
    "words": (mark("In my own words"), discord.ButtonStyle.primary),
    "clear": (mark("Clear"), discord.ButtonStyle.danger),
    "open": (mark("How I should write to you"), discord.ButtonStyle.secondary),
}

TRY_NOTHING = mark("What I learnt is switched off")

MODAL_TITLE = mark("In your own words")

MODAL_LABEL = mark("How should I write to you?")

MODAL_EXAMPLE = mark("Like an old sailor, and never more than two sentences.")

Action = Literal["words", "clear", "open"]


class StyleMenu(PersistentSelect, template=r"simpatico:style-presets"):
    """A menu of the presets; any number of them may be chosen.

    Args:
        wish: The current wish.
    """

    def __init__(self, wish: Wish = NO_WISH) -> None:
        options = [
            discord.SelectOption(label=tr(one.label), value=one.name, default=one.name in wish.presets)
            for one in PRESETS
        ]
        super().__init__(
            discord.ui.Select(
                custom_id="simpatico:style-presets",
                placeholder=tr(MENU),
                min_values=0,
                max_values=len(options),
                options=options,
                row=0,
            )
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the menu from its id."""
        return cls()

    async def choose(self, interaction: discord.Interaction[Any], value: str) -> None:
        """Replace the presets of the wish by the chosen ones."""
        await interaction.response.defer()
        await change_wish(interaction, lambda before: with_presets(before, self.item.values))


_MOST_OPTIONS = 25
"""Options that Discord takes in one menu."""


class LearntMenu(PersistentSelect, template=r"simpatico:learnt:(?P<reply>\d{1,18})"):
    """A menu in ``/feedback`` of what taste changes in replies; what is not chosen is switched off.

    Args:
        shown: The reply that the panel is about.
        known: What taste offers.
        wish: The member's wish, with what they switched off.
    """

    def __init__(self, shown: ReplyId, known: Offers = NO_OFFERS, wish: Wish = NO_WISH) -> None:
        options = [
            discord.SelectOption(
                label=offer_called(name)[:100], value=name, default=name not in wish.unwanted
            )
            for name in [*dict.fromkeys([*names_of(known), *wish.unwanted])][:_MOST_OPTIONS]
        ]
        super().__init__(
            discord.ui.Select(
                custom_id=f"simpatico:learnt:{shown}",
                placeholder=tr(TRY_NOTHING),
                min_values=0,
                max_values=max(1, len(options)),
                options=options or [discord.SelectOption(label="-", value="-")],
                row=3,
            )
        )
        self.shown = shown

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the menu from its id, with the options that were shown."""
        menu = cls(ReplyId(int(match["reply"])))
        if isinstance(item, discord.ui.Select):
            menu.item.options = item.options
        return menu

    async def switch(self, interaction: discord.Interaction[Any], who: Who) -> None:
        """Switch off the options that were shown and are not chosen."""
        bot: StyleHost = interaction.client
        shown = {option.value for option in self.item.options} & {EXAMPLES, *AXIS_OF}
        off = shown - set(self.item.values)

        def changed(before: Wish) -> Wish:
            return replace(before, unwanted=tuple(sorted((set(before.unwanted) - shown) | off)))

        await bot.responder.wishes.change(who, changed, asker=asker_of(interaction))


class StyleButton(PersistentButton, template=r"simpatico:style:(?P<action>words|clear|open)"):
    """A button on the page, or one that opens it."""

    def __init__(self, action: Action) -> None:
        label, style = BUTTONS[action]
        super().__init__(
            discord.ui.Button(label=tr(label), style=style, custom_id=f"simpatico:style:{action}", row=1)
        )
        self._action = action

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(cast(Action, match["action"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Ask for words, clear the wish, or open the page."""
        match self._action:
            case "words":
                await interaction.response.send_modal(WordsModal())
            case "clear":
                await interaction.response.defer()
                await change_wish(interaction, without_asking)
            case "open":
                await interaction.response.defer(ephemeral=True, thinking=True)
                await show_wish(interaction, *await wish_and_consent(interaction))


class WordsModal(discord.ui.Modal):
    """Form for a wish in the member's own words."""

    def __init__(self) -> None:
        super().__init__(title=tr(MODAL_TITLE), timeout=900)
        self.words = discord.ui.TextInput[Any](
            label=tr(MODAL_LABEL),
            style=discord.TextStyle.paragraph,
            placeholder=tr(MODAL_EXAMPLE),
            max_length=MOST_CHARACTERS,
            custom_id="words",
        )
        self.add_item(self.words)

    async def on_submit(self, interaction: discord.Interaction[Any], /) -> None:
        """Add the words to the wish."""
        host: Host = interaction.client
        host.tongues.hear(interaction)
        await interaction.response.defer()
        if await has_helped(interaction, self.words.value):
            return
        await change_wish(interaction, lambda before: with_words(before, self.words.value))

    async def on_error(self, interaction: discord.Interaction[Any], error: Exception, /) -> None:
        """Answer an error like that of a command."""
        await answer_error(interaction, error)


async def wish_and_consent(interaction: discord.Interaction[Any]) -> tuple[Wish, Consent]:
    """Return the wish and the consent of the member who used the command or button."""
    bot: StyleHost = interaction.client
    who = who_clicked(interaction)
    consent = await bot.store.consent.of(who)
    return await bot.responder.wishes.of(who, consent), consent


async def change_wish(interaction: discord.Interaction[Any], changed: Callable[[Wish], Wish]) -> None:
    """Store a changed wish, or keep it in memory without consent, and show the result."""
    bot: StyleHost = interaction.client
    who: Who = who_clicked(interaction)
    await bot.responder.wishes.change(who, changed, asker=asker_of(interaction))
    await show_wish(interaction, *await wish_and_consent(interaction))


async def show_wish(interaction: discord.Interaction[Any], wish: Wish, consent: Consent) -> None:
    """Answer a deferred interaction with the page."""
    view = discord.ui.View(timeout=None)
    view.add_item(StyleMenu(wish))
    view.add_item(StyleButton("words"))
    if wish.asks:
        view.add_item(StyleButton("clear"))
    if consent is Consent.AGREED:
        view.add_item(OfferButton(row=2))
    await interaction.edit_original_response(content=page_of(wish, consent), view=view)


def page_of(wish: Wish, consent: Consent) -> str:
    """Describe the wish and where it is kept."""
    lines = [tr(TITLE)]
    if wish.presets:
        lines.append(tr(PRESETS_CHOSEN, presets=list_of(labels_of(wish))))
    if wish.words:
        lines.append(tr(IN_YOUR_WORDS, words=escaped(wish.words)))
    lines.append(tr(FOLLOWED if wish.asks else NOTHING))
    lines.append(tr(KEPT if consent is Consent.AGREED else REMEMBERED))
    if wish.unwanted:
        lines.append(tr(STAYS_OFF))
    return "\n".join(lines)
