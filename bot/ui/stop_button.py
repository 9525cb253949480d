"""The Stop button under a reply that grows, and growing it to its end.

How a reply grows is :mod:`bot.messages.streaming`'s; here it meets the bot: who may stop it, and when it is
unwanted.
"""

from __future__ import annotations

import re
from typing import Any, Self

import discord

from bot.languages import mark, tr
from bot.messages.streaming import GrowingReply, Pace, finish, grow
from bot.replies.decision import Decision
from bot.ui.components import PersistentButton
from bot.ui.ports import StreamHost

STOP = mark("Stop")
NOT_YOURS_TO_STOP = mark("Only the person I am answering can stop this answer.")


class StopButton(PersistentButton, template=r"simpatico:enough:(?P<prompt>\d{1,20}):(?P<user>\d{1,20})"):
    """Ends a reply that grows; for the member whom it answers."""

    def __init__(self, prompt_id: int, user_id: int) -> None:
        custom_id = f"simpatico:enough:{prompt_id}:{user_id}"
        super().__init__(
            discord.ui.Button(label=tr(STOP), style=discord.ButtonStyle.secondary, custom_id=custom_id)
        )
        self._prompt_id = prompt_id
        self._user_id = user_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(int(match["prompt"]), int(match["user"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """End the reply as it stands; a button that a crash left behind goes."""
        if interaction.user.id != self._user_id:
            await interaction.response.send_message(tr(NOT_YOURS_TO_STOP), ephemeral=True)
            return
        bot: StreamHost = interaction.client
        await interaction.response.defer()
        if not bot.streams.stop(self._prompt_id):
            await interaction.edit_original_response(view=None)


def stop_view(prompt: discord.Message) -> discord.ui.View:
    """The Stop button under the reply to a message."""
    view = discord.ui.View(timeout=None)
    view.add_item(StopButton(prompt.id, prompt.author.id))
    return view


async def grow_to_the_end(
    bot: StreamHost,
    prompt: discord.Message,
    *,
    decision: Decision,
    posted: list[discord.Message],
    view: discord.ui.View | None,
) -> tuple[Decision, list[discord.Message]]:
    """Grow a posted draft to its end, or until it is stopped; what stands then is what was decided.

    Args:
        bot: Asked whether it was paused meanwhile.
        prompt: The message that is answered.
        decision: With the draft, and how to go on with it.
        posted: The messages of the draft, under which the Stop button stands.
        view: The buttons that stand under the whole reply.

    Returns:
        The decision with the text that Discord shows, and the messages of it.
    """
    assert decision.more is not None
    streams, shown = bot.streams, stop_view(prompt)
    reply = GrowingReply(prompt, posted, decision.text, view=shown, pace=Pace(streams.every_s))

    async def unwanted() -> bool:
        return decision.asker.left or await bot.pausing.is_paused()

    try:
        with streams.running(prompt.id) as stopped:
            await grow(
                reply,
                decision.more(),
                stopped=stopped,
                stop_view=shown,
                unwanted=unwanted,
                every_s=streams.every_s,
            )
    finally:
        await finish(reply, view)
    return await bot.responder.finished(decision, reply.text), reply.messages
