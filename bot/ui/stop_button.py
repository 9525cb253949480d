"""The Stop button under a streamed reply, and streaming it to its end.

:mod:`bot.messages.streaming` edits the messages; this module decides who may stop a reply and when it ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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
    """Ends a streamed reply; only for the member whom it answers."""

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
        """End the reply with the text shown; remove a button that a crash left behind."""
        if interaction.user.id != self._user_id:
            await interaction.response.send_message(tr(NOT_YOURS_TO_STOP), ephemeral=True)
            return
        bot: StreamHost = interaction.client
        await interaction.response.defer()
        if not bot.streams.stop(self._prompt_id):
            await interaction.edit_original_response(view=None)


def stop_view(prompt: discord.Message, user_id: int) -> discord.ui.View:
    """Return a view with the Stop button for the reply to a message of this member."""
    view = discord.ui.View(timeout=None)
    view.add_item(StopButton(prompt.id, user_id))
    return view


async def grow_to_the_end(
    bot: StreamHost,
    prompt: discord.Message,
    *,
    decision: Decision,
    posted: list[discord.Message],
    view: discord.ui.View | None,
    is_withdrawn: Callable[[], bool],
) -> tuple[Decision, list[discord.Message]]:
    """Stream a posted draft to its end, or until it is stopped; the shown text becomes the reply.

    Args:
        bot: The streams, the emergency stop and the responder.
        prompt: The message that is answered.
        decision: The decision with the draft and its continuation.
        posted: The messages of the draft, with the Stop button under the last.
        view: The buttons under the finished reply.
        is_withdrawn: Returns whether the message that is answered was deleted, which stops the reply.

    Returns:
        The decision with the text that Discord shows, and its messages.
    """
    assert decision.more is not None
    streams, shown = bot.streams, stop_view(prompt, decision.asker.who.user_id)
    reply = GrowingReply(prompt, posted, decision.text, view=shown, pace=Pace(streams.every_s))

    async def unwanted() -> bool:
        return decision.asker.left or is_withdrawn() or await bot.pausing.is_paused()

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
