"""Privacy page: what is kept about a member, and the buttons to agree, withdraw or delete it.

Used by ``/privacy``, ``/forget-me`` and the invitation under a member's first reply.
"""

from __future__ import annotations

import re
from typing import Any, Literal, Self, cast

import discord

from bot.identity import asker_of, who_clicked
from bot.languages import mark, sentences_of, tr, trn
from bot.replies.decision import Asker
from bot.ui.components import PersistentButton
from bot.ui.ports import PrivacyHost
from bot.ui.six_taps.panel import offer
from storage.records import Consent, DataSummary, ForgetReceipt

Choice = Literal["agree", "refuse", "withdraw", "stop", "about", "forget", "keep"]

ABOUT = mark(
    "**What I do:** I write several replies to each message and post the one I think *you*"
    " will like best.\n"
    "**What I keep if you agree:** my own replies to you, your reactions, ratings and"
    " choices, and a small model of your taste that I learn from them. It is encrypted with"
    " your own key and used in this server only.\n"
    "**What I never keep:** the messages you write. I read the conversation from Discord when"
    " I answer, then forget it. The only exceptions are words you give me on purpose: a"
    " private note in `/feedback` or a wish in `/style`.\n"
    "**How to leave:** the button below deletes what I keep here, `/forget-me` what I keep"
    " everywhere. Your key goes first, so nobody can read the rest.\n"
)

AGREED = mark(
    "Thank you! From now on I learn from your reactions to my replies here. `/privacy` shows what is kept."
)

REFUSED = mark(
    "All right, I will keep nothing about you here, and I will not ask again. If you change your mind,"
    " use `/privacy`."
)

BESIDE = mark(
    "I also keep choices between two answers ({n_preferences}) and private notes about replies ({n_remarks})."
)

BESIDE_DELETED = mark(
    "Also deleted: choices between two answers ({n_preferences}) and private notes about replies"
    " ({n_remarks})."
)

NOT_YOURS = mark("This invitation is for someone else. `/privacy` shows yours.")

KEPT = mark("Nothing was deleted.")

SURE = mark(
    "I will delete what I keep about you here and stop learning from you. This cannot be undone. Continue?"
)

SURE_OF_ALL = mark(
    "I will delete everything I keep about you in every server and in our direct messages: my replies"
    " to you, your feedback, the models of your taste, and the keys that encrypt them. This cannot be"
    " undone. Continue?"
)

WHAT_STAYS = mark(
    "My messages in the channels stay until you or a moderator delete them, and Discord keeps its own"
    " copy of the conversation. Old backups of my database may still hold your data, but nobody can"
    " read it without your key. If such a backup is restored, your data is deleted again."
)

_LABELS: dict[Choice, tuple[str, discord.ButtonStyle]] = {
    "agree": (mark("Learn what I like"), discord.ButtonStyle.success),
    "about": (mark("What is kept?"), discord.ButtonStyle.secondary),
    "refuse": (mark("No, thanks"), discord.ButtonStyle.secondary),
    "withdraw": (mark("Stop learning here"), discord.ButtonStyle.secondary),
    "stop": (mark("Stop and delete what is kept here"), discord.ButtonStyle.danger),
    "forget": (mark("Forget everything about me"), discord.ButtonStyle.danger),
    "keep": (mark("Cancel"), discord.ButtonStyle.secondary),
}


class ChoiceButton(
    PersistentButton,
    template=r"simpatico:privacy:(?P<choice>agree|refuse|withdraw|stop|about|forget|keep):(?P<user>\d+)",
):
    """A button with one member's decision; works after a restart, and for that member only."""

    def __init__(self, choice: Choice, user_id: int) -> None:
        label, style = _LABELS[choice]
        custom_id = f"simpatico:privacy:{choice}:{user_id}"
        super().__init__(discord.ui.Button(label=tr(label), style=style, custom_id=custom_id))
        self._choice = choice
        self._user_id = user_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(cast(Choice, match["choice"]), int(match["user"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Carry out the decision and confirm it."""
        if interaction.user.id != self._user_id:
            await interaction.response.send_message(tr(NOT_YOURS), ephemeral=True)
            return
        bot: PrivacyHost = interaction.client
        who = who_clicked(interaction)
        private = interaction.message is not None and interaction.message.flags.ephemeral
        await interaction.response.defer(ephemeral=True)
        agrees = await bot.privacy.consent_of(who) is Consent.AGREED
        if self._choice == "about":
            await show_privacy(bot, interaction, beside=True)
        elif self._choice == "withdraw" or (self._choice == "refuse" and agrees):
            await interaction.followup.send(
                tr(SURE), view=choices(who.user_id, "stop", "keep"), ephemeral=True
            )
        else:
            answer = await self._carry_out(bot, asker_of(interaction), interaction.message)
            agreed = self._choice == "agree" and await bot.privacy.consent_of(who) is Consent.AGREED
            view = offer() if agreed else discord.ui.View()
            if private:
                await interaction.edit_original_response(content=answer, view=view)
            else:  # under a public reply: remove the buttons, and answer the member privately
                await interaction.edit_original_response(view=None)
                await interaction.followup.send(answer, view=view, ephemeral=True)

    async def _carry_out(self, bot: PrivacyHost, deciding: Asker, message: discord.Message | None) -> str:
        who = deciding.who
        match self._choice:
            case "agree":
                agreed = await bot.privacy.agree(deciding, message.id if message else None)
                return tr(AGREED) if agreed else kept_in_words(await bot.privacy.summary(who))
            case "refuse" | "stop":
                await bot.privacy.refuse(who)
                return tr(REFUSED)
            case "forget":
                return _receipt_in_words(await bot.privacy.forget(who.user_id))
            case _:  # "keep"
                return tr(KEPT)


def invitation_view(user_id: int) -> discord.ui.View:
    """Return the buttons under the first reply to a member who has not decided yet."""
    return choices(user_id, "agree", "about", "refuse")


def choices(user_id: int, *names: Choice) -> discord.ui.View:
    """Return a row of decision buttons for one member."""
    view = discord.ui.View(timeout=None)
    for name in names:
        view.add_item(ChoiceButton(name, user_id))
    return view


async def show_privacy(bot: PrivacyHost, interaction: discord.Interaction, *, beside: bool = False) -> None:
    """Answer a deferred interaction with what is kept; ``beside`` keeps the original message."""
    who = who_clicked(interaction)
    consent = await bot.privacy.consent_of(who)
    summary = await bot.privacy.summary(who)
    content = f"{tr(ABOUT)}\n{kept_in_words(summary)}"
    offered: tuple[Choice, ...] = ("withdraw", "forget") if consent is Consent.AGREED else ("agree", "refuse")
    if consent is Consent.REFUSED:
        offered = ("agree",)
    view = choices(who.user_id, *offered)
    if beside:
        await interaction.followup.send(content, view=view, ephemeral=True)
    else:
        await interaction.edit_original_response(content=content, view=view)


def kept_in_words(summary: DataSummary) -> str:
    """Describe what is kept about a member, in the current language."""
    if summary.agreed_at is None:
        return tr("**You, here:** you have not agreed, so I keep nothing about you.")
    if summary.head_version:
        head = trn("a model from {n} label", "a model from {n} labels", summary.head_labels)
    else:
        head = tr("no model yet")
    kept = tr(
        "**You, here:** you agreed on {day:%Y-%m-%d}. I keep my replies to you ({replies}, with"
        " feedback on {feedback} of them) and {head}.",
        day=summary.agreed_at,
        replies=summary.n_replies,
        feedback=summary.n_feedback,
        head=head,
    )
    more = tr(BESIDE, n_preferences=summary.n_preferences, n_remarks=summary.n_remarks)
    return sentences_of(kept, more) if summary.n_preferences or summary.n_remarks else kept


def _receipt_in_words(receipt: ForgetReceipt) -> str:
    if receipt.n_traces:
        found = tr(
            "I searched again and still found traces of you ({n}). Please tell the host of this bot.",
            n=receipt.n_traces,
        )
    elif receipt.files_searched:
        found = tr("I searched the database and its files for you, byte by byte, and found nothing.")
    else:
        found = tr("I searched the database for you and found nothing.")
    done = tr(
        "Done at {time:%Y-%m-%d %H:%M} UTC. I deleted your key, my replies to you ({replies}), your"
        " feedback ({feedback}) and the models of your taste ({heads}).",
        time=receipt.finished_at,
        replies=receipt.n_replies,
        feedback=receipt.n_feedback,
        heads=receipt.n_heads,
    )
    lines = [sentences_of(done, found), tr(WHAT_STAYS)]
    if receipt.n_preferences or receipt.n_remarks:
        lines.insert(1, tr(BESIDE_DELETED, n_preferences=receipt.n_preferences, n_remarks=receipt.n_remarks))
    return "\n".join(lines)
