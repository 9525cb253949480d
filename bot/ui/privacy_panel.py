"""Privacy page: what is kept about a member, and the buttons to agree, withdraw or delete it.

Used by ``/privacy``, ``/forget-me`` and the invitation under a member's first reply.
"""

from __future__ import annotations

import re
from typing import Any, Literal, Self, cast

import discord

from bot.identity import who_clicked
from bot.languages import mark, tr, trn
from bot.ui.components import PersistentButton
from bot.ui.ports import PrivacyHost
from storage.records import Consent, DataSummary, ForgetReceipt, Who

Choice = Literal["agree", "refuse", "withdraw", "stop", "about", "forget", "keep"]

ABOUT = mark("""\
**What I do:** I write several replies to each message and post the one I think *you* like best.
**What I keep, if you agree:** my own replies to you, which reactions, ratings and choices *you* made, and \
a small model of your taste made from those. It is encrypted with a key of your own, for this server alone.
**What I never keep:** anything you write, but for what you hand to me on purpose: a private word in \
`/feedback`, a wish in `/style`. I read the conversation back from Discord when I answer, then forget it.
**How to leave:** the button below, or `/forget-me`, deletes all of it, your key first.
""")

AGREED = mark(
    "Thank you! From now on I learn from your reactions to my replies here. `/privacy` shows what is kept."
)

REFUSED = mark(
    "All right: I keep nothing about you here, and I will not ask again."
    " `/privacy` is there if you change your mind."
)

BESIDE = mark(
    "Beside that: {n_preferences} choices between two answers, and {n_remarks} private words about replies."
)

BESIDE_DELETED = mark(
    "Gone, too: {n_preferences} choices between two answers and {n_remarks} private words about replies."
)

NOT_YOURS = mark("This invitation is for someone else. `/privacy` shows yours.")

KEPT = mark("Nothing was deleted.")

SURE = mark("Then I delete what I keep about you here, and stop learning. This cannot be undone. Go on?")

SURE_OF_ALL = mark(
    "I will delete everything I keep about you, here, in every other server and in our direct messages: my"
    " replies to you, your feedback, your model, and the keys they were encrypted with. This cannot be"
    " undone. Go on?"
)

WHAT_STAYS = mark(
    "My posts in the channels stay until you or a moderator delete them; Discord keeps its own copy of what"
    " was said here. Backups of the database keep their old files, but nobody can read your part of them"
    " without your key, and it is deleted again should one be restored."
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
            answer = await self._carry_out(bot, who, interaction.message)
            if private:
                await interaction.edit_original_response(content=answer, view=None)
            else:  # under a public reply: remove the buttons, and answer the member privately
                await interaction.edit_original_response(view=None)
                await interaction.followup.send(answer, ephemeral=True)

    async def _carry_out(self, bot: PrivacyHost, who: Who, message: discord.Message | None) -> str:
        match self._choice:
            case "agree":
                await bot.privacy.agree(who, message.id if message else None)
                return tr(AGREED)
            case "refuse" | "stop":
                await bot.privacy.refuse(who)
                return tr(REFUSED)
            case "forget":
                return _receipt_in_words(await bot.privacy.forget(who.user_id))
            case _:  # "keep"
                return tr(KEPT)


def invitation_view(user_id: int) -> discord.ui.View:
    """The buttons under the first reply to a member who has not decided yet."""
    return choices(user_id, "agree", "about", "refuse")


def choices(user_id: int, *names: Choice) -> discord.ui.View:
    """A row of decisions for one member."""
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
        return tr("**You, here:** you have not agreed, so nothing is kept.")
    if summary.head_version:
        head = trn("a model from {n} label", "a model from {n} labels", summary.head_labels)
    else:
        head = tr("no model yet")
    kept = tr(
        "**You, here:** you agreed on {day:%Y-%m-%d}. I keep {replies} replies, feedback on {feedback} of"
        " them, and {head}.",
        day=summary.agreed_at,
        replies=summary.n_replies,
        feedback=summary.n_feedback,
        head=head,
    )
    more = tr(BESIDE, n_preferences=summary.n_preferences, n_remarks=summary.n_remarks)
    return f"{kept} {more}" if summary.n_preferences or summary.n_remarks else kept


def _receipt_in_words(receipt: ForgetReceipt) -> str:
    if receipt.n_traces:
        found = tr(
            "I looked for you and still found {n} traces; whoever runs me should know.", n=receipt.n_traces
        )
    elif receipt.files_searched:
        found = tr("I looked for you in the tables and the files byte by byte and found nothing.")
    else:
        found = tr("I looked for you in the tables and found nothing.")
    done = tr(
        "Done at {time:%Y-%m-%d %H:%M} UTC. Deleted: your key, {replies} replies, {feedback} pieces of"
        " feedback and {heads} models.",
        time=receipt.finished_at,
        replies=receipt.n_replies,
        feedback=receipt.n_feedback,
        heads=receipt.n_heads,
    )
    lines = [f"{done} {found}", tr(WHAT_STAYS)]
    if receipt.n_preferences or receipt.n_remarks:
        lines.insert(1, tr(BESIDE_DELETED, n_preferences=receipt.n_preferences, n_remarks=receipt.n_remarks))
    return "\n".join(lines)
