"""Form for a private remark about a disliked reply: reasons to choose, and a field for own words.

The button is on the ``/feedback`` panel. Discord requires that a form opens without a deferred response. The
remark is stored sealed for the member, and nothing is learnt from it (:mod:`storage.replies.remarks`).
"""

from __future__ import annotations

import re
from typing import Any, Self

import discord

from bot.identity import who_clicked
from bot.languages import mark, tr
from bot.ui.components import ABOUT, PersistentButton, about, has_helped, record_quietly
from bot.ui.errors import answer_error
from bot.ui.feedback_text import PAUSED, REASONS
from bot.ui.ports import FeedbackHost, Host
from storage.errors import LearningPaused, NoConsent, UnknownReply
from storage.records import Remark, ReplyId

TITLE = mark("What was wrong?")
WHICH = mark("What was wrong with this reply?")
OWN_WORDS = mark("Anything else? (optional)")
OWN_WORDS_WHY = mark("Encrypted for you alone. I learn from your reactions, never from your words.")
THANKS = mark(
    "Thank you for telling me. I keep it encrypted with your own key, and only you can see it, in"
    " `/feedback` and `/my-data`. Your own words are deleted after a while, the reasons when you undo"
    " them or leave."
)
THANKS_FOR_ANY = mark(
    "Thank you for telling me. If I may keep it, only you can see it, in `/my-data`. Your own words are"
    " deleted after a while, the reasons when you undo them or leave."
)
TAKEN_BACK = mark("Undone. I deleted what you told me about this reply.")
GONE = mark(
    "I could not save that. Either the reply is gone, or you no longer allow me to keep"
    " anything about you here."
)
MOST_WORDS = 500
"""Characters of a member's own words."""


class RemarkButton(PersistentButton, template=rf"simpatico:remark:{ABOUT}"):
    """Opens the form about one reply."""

    def __init__(self, about: ReplyId | str) -> None:
        super().__init__(
            discord.ui.Button(
                label=tr("Tell me what was wrong"),
                style=discord.ButtonStyle.secondary,
                custom_id=f"simpatico:remark:{about}",
                row=1,
            )
        )
        self._about = about

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(about(match))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Open the form; nothing is looked up before, because Discord requires a form at once."""
        await interaction.response.send_modal(RemarkForm(self._about))


class ForgetRemarkButton(PersistentButton, template=rf"simpatico:unremark:{ABOUT}"):
    """Deletes the member's remark about one reply."""

    def __init__(self, about: ReplyId | str) -> None:
        super().__init__(
            discord.ui.Button(
                label=tr("Undo"),
                style=discord.ButtonStyle.danger,
                custom_id=f"simpatico:unremark:{about}",
            )
        )
        self._about = about

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(about(match))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Delete the remark."""
        await interaction.response.defer(ephemeral=True)
        await _record(interaction, self._about, None, tr(TAKEN_BACK), None)


class RemarkForm(discord.ui.Modal):
    """Reasons and own words about one reply."""

    def __init__(self, about: ReplyId | str) -> None:
        super().__init__(title=tr(TITLE), timeout=900)
        self._about = about
        options = [discord.SelectOption(label=tr(said), value=kept) for kept, said in REASONS.items()]
        self._reasons: discord.ui.Select[Any] = discord.ui.Select(
            options=options, min_values=1, max_values=len(options)
        )
        self._words: discord.ui.TextInput[Any] = discord.ui.TextInput(
            style=discord.TextStyle.paragraph, required=False, max_length=MOST_WORDS
        )
        self.add_item(discord.ui.Label(text=tr(WHICH), component=self._reasons))
        self.add_item(
            discord.ui.Label(text=tr(OWN_WORDS), description=tr(OWN_WORDS_WHY), component=self._words)
        )

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        """Store the remark."""
        host: Host = interaction.client
        host.tongues.hear(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        if await has_helped(interaction, self._words.value):
            return
        remark = Remark(tuple(self._reasons.values), self._words.value.strip() or None)
        view = discord.ui.View(timeout=None)
        view.add_item(ForgetRemarkButton(self._about))
        said = tr(THANKS_FOR_ANY if isinstance(self._about, str) else THANKS)
        await _record(interaction, self._about, remark, said, view)

    async def on_error(self, interaction: discord.Interaction[Any], error: Exception) -> None:
        """Answer an error like that of a command."""
        await answer_error(interaction, error)


async def _record(
    interaction: discord.Interaction[Any],
    about: ReplyId | str,
    remark: Remark | None,
    said: str,
    view: discord.ui.View | None,
) -> None:
    """Answer with ``said`` and store or delete a remark, or say why not; for ``about`` see :data:`ABOUT`."""
    host: FeedbackHost = interaction.client
    who = await host.store.consent.bound(who_clicked(interaction))
    if who is None:
        await interaction.edit_original_response(content=tr(GONE), view=None)
    elif remark is not None and await host.store.pauses.is_paused(who):
        await interaction.edit_original_response(content=tr(PAUSED), view=None)
    elif isinstance(about, str):
        await interaction.edit_original_response(content=said, view=view)
        await record_quietly(host, about, lambda reply_id: host.store.remarks.record(who, reply_id, remark))
    elif await host.store.replies.summary(who, about) is None:
        await interaction.edit_original_response(content=tr(GONE), view=None)
    else:
        try:
            await host.store.remarks.record(who, about, remark)
        except LearningPaused:
            said, view = tr(PAUSED), None
        except (NoConsent, UnknownReply):
            said, view = tr(GONE), None
        await interaction.edit_original_response(content=said, view=view)
