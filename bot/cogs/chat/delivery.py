"""Delivers a decided reply: post it, record its impression, then add the reactions to click.

The order matters. A click on a reaction must find the reply stored, and the channel's events are held back
until it is.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Protocol

import discord

from bot.cogs.ports import HasInbox, HasMetrics, HasResponder, HasServers, HasStore
from bot.generation import GeneratorError
from bot.languages import tr
from bot.messages.bursts import Burst
from bot.messages.conversation import BLOCKED
from bot.messages.posting import (
    AnsweredBefore,
    AutoModRefused,
    PromptGone,
    place_of,
    post_reply,
    say,
    seed_reactions,
)
from bot.replies.consent import Unanswered
from bot.replies.decision import Decision, NothingToSay, as_another
from bot.replies.responder import Responder
from bot.ui.ports import StreamHost
from bot.ui.privacy_panel import invitation_view
from bot.ui.stop_button import grow_to_the_end, stop_view
from storage.failpoints import failpoint
from storage.records import Consent, MemberId, Place, Who
from storage.tallies import SharedClaims

log = logging.getLogger(__name__)


class DeliveryHost(HasInbox, HasMetrics, HasResponder, HasServers, HasStore, StreamHost, Protocol):
    """What a delivery needs of the client."""

    @property
    def responder(self) -> Responder:
        """Records replies and describes the finished text."""
        ...

    @property
    def invited(self) -> SharedClaims:
        """Members who were invited to learning."""
        ...

    @property
    def unanswered(self) -> Unanswered:
        """Invited members who have not decided."""
        ...


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """The request behind another answer.

    Attributes:
        message_id: A message of the answer before.
        interaction_id: The interaction that asked; it makes the nonce of the new reply.
    """

    message_id: int
    interaction_id: int


class Delivery:
    """Delivers decided replies.

    Args:
        bot: The bot.
    """

    def __init__(self, bot: DeliveryHost) -> None:
        self._bot = bot

    async def deliver(
        self,
        burst: Burst,
        decision: Decision,
        *,
        waited_s: float | None = None,
        again: AskedAgain | None = None,
    ) -> bool:
        """Post the reply to a burst, record it, and add the reactions to click.

        Args:
            burst: The messages to answer. If they are deleted, nothing is posted.
            decision: The reply. A draft grows to its end before it is recorded.
            waited_s: Time in the queue, seconds; None where it is not measured.
            again: Set for another answer. Another answer carries no invitation to learning.

        Returns:
            Whether the reply was posted.
        """
        if await self._bot.pausing.is_paused():  # the owner may pause the bot while a reply is written
            return False
        started, who = time.perf_counter(), replace(decision.asker.who, came=None)
        invitee = self._claim_invitation(who, decision) if again is None else None
        view = None if invitee is None else invitation_view(who.user_id)
        with self._bot.inbox.held(burst.channel.id):
            posted, decision = await self._post_one(burst, decision, view=view, again=again)
            if not posted:
                if invitee is not None and self._bot.unanswered.not_posted(who):
                    self._bot.invited.release(invitee)
                return False
            seconds = {**decision.seconds, "post": time.perf_counter() - started}
            if waited_s is not None:
                seconds["wait"] = waited_s + decision.seconds.get("turn", 0.0)
            self._bot.unanswered.posted(who, place_of(posted).message_ids)
            failpoint("chat.after-post")
            if decision.more is not None:
                decision, posted = await grow_to_the_end(
                    self._bot,
                    burst.last,
                    decision=decision,
                    posted=posted,
                    view=view,
                    is_withdrawn=lambda: burst.is_withdrawn,
                )
            await self._record(who, place_of(posted), decision, again)
        self._bot.metrics.reply(seconds)
        await seed_reactions(posted[-1], (await self._bot.servers.of(who.guild_id)).seeded_reactions)
        return True

    async def _post_one(
        self,
        burst: Burst,
        decision: Decision,
        *,
        view: discord.ui.View | None,
        again: AskedAgain | None,
    ) -> tuple[list[discord.Message], Decision]:
        """Post the reply, or the next candidate while AutoMod refuses the one before; see :meth:`_post`.

        Returns:
            The messages, and the decision that was posted, without its reference to the context.
        """
        n_deleted = 0
        try:
            while True:
                try:
                    posted = await self._post(burst, decision, view=view, again=again, n_deleted=n_deleted)
                    return posted, replace(decision, instead=None)
                except AutoModRefused as exc:
                    n_deleted += exc.n_deleted
                    log.info("AutoMod refused a reply; the next candidate is posted")
                    decision = await self._next(decision, again)
        except (NothingToSay, GeneratorError):
            if again is None:
                await say(burst.last, tr(BLOCKED))
            return [], decision

    async def _next(self, decision: Decision, again: AskedAgain | None) -> Decision:
        """Return the decision for another candidate of the same reply.

        Raises:
            NothingToSay: No candidate is left.
            GeneratorError: Its draft could not be finished.
        """
        if decision.instead is None:
            raise NothingToSay
        following = replace(await decision.instead(), seconds=decision.seconds)
        if again is None:
            return following
        whole = await self._bot.responder.completed(following)
        return replace(whole, impression=as_another(whole.impression))

    async def _post(
        self,
        burst: Burst,
        decision: Decision,
        *,
        view: discord.ui.View | None,
        again: AskedAgain | None,
        n_deleted: int,
    ) -> list[discord.Message]:
        """Post the reply; returns no message where Discord refused it, or the prompt is gone or answered.

        Raises:
            AutoModRefused: A rule of the server forbids this text.
        """
        if burst.is_withdrawn:
            return []
        prompt = burst.last
        first_view = stop_view(prompt, decision.asker.who.user_id) if decision.more else view
        asked_by = None if again is None else again.interaction_id
        try:
            return await post_reply(
                prompt, decision.text, view=first_view, asked_by=asked_by, n_deleted=n_deleted
            )
        except discord.HTTPException as exc:
            log.warning("a reply could not be posted: Discord answered %s (code %s)", exc.status, exc.code)
        except PromptGone:
            burst.deleted(prompt.id)
        except AnsweredBefore:
            log.warning("a prompt had a reply already; this one was not posted")
        return []

    async def _record(self, who: Who, place: Place, decision: Decision, again: AskedAgain | None) -> None:
        recorder = self._bot.responder.recorder
        if again is None:
            await recorder.record(who, place, decision)
        else:
            await recorder.record_another(who, place, decision, again.message_id)

    def _claim_invitation(self, who: Who, decision: Decision) -> MemberId | None:
        """Return the member to invite under this reply; None if they decided, or were just invited."""
        if decision.consent is not Consent.UNKNOWN:
            return None
        invitee = self._bot.store.member_id(who)  # a pseudonym, because it stays in memory after a forget
        if self._bot.invited.claim(invitee):
            self._bot.unanswered.begin(who)
            return invitee
        return invitee if self._bot.unanswered.invites_again(who) else None
