"""Records posted replies: the impression of a member who agreed, and candidates for another answer.

Consent is read again when a reply is recorded, because writing it takes seconds and members decide meanwhile.
"""

from __future__ import annotations

from dataclasses import replace

from bot.memory import Leaving
from bot.replies.candidate_cache import Drafts
from bot.replies.consent import Undecided, consent_of
from bot.replies.decision import Decision, ReplyObserver
from storage.errors import NoConsent
from storage.records import Consent, Place, ReplyId, Who
from storage.store import Store


class ReplyRecorder:
    """Records posted replies.

    Args:
        store: Keeps the impressions.
        drafts: Keeps the candidates, in memory.

    Attributes:
        observer: Sees each posted reply; None outside of the playground.
    """

    def __init__(self, store: Store, drafts: Drafts) -> None:
        self._store, self._drafts = store, drafts
        self._undecided = Undecided()
        self.observer: ReplyObserver | None = None

    async def record(self, who: Who, place: Place, decision: Decision) -> ReplyId | None:
        """Store the impression of a posted reply, if the member agrees by now.

        The reply of a member who has not decided yet waits in memory for :meth:`agreed`.

        Returns:
            The reply's id, or None when nothing was stored.
        """
        if decision.asker.may_be_remembered:
            self._drafts.keep(who, place, decision.written, decision.text)
        reply_id = await self._store_impression(who, place, decision)
        self._tell(place, decision)
        return reply_id

    async def record_another(
        self, who: Who, place: Place, decision: Decision, message_id: int
    ) -> ReplyId | None:
        """Store the impression of another answer, and that it was requested, if the member agrees by now.

        Args:
            who: The member who asked.
            place: Location of the posted answer.
            decision: The decision of :meth:`bot.replies.responder.Responder.decide_another`.
            message_id: A message of the answer before.

        Returns:
            The reply's id, or None when nothing was stored.
        """
        if decision.asker.may_be_remembered:
            self._drafts.extend(who, message_id, place, candidates=decision.written, text=decision.text)
        first = await self._store.replies.of_message(message_id)
        reply_id = await self._store_impression(who, place, decision)
        if first is not None and reply_id is not None:
            bound = replace(decision.asker.who, under=decision.asker.under)
            await self._store.preferences.record_another(bound, first, reply_id)
        self._tell(place, decision)
        return reply_id

    async def agreed(self, who: Who, message_id: int | None) -> None:
        """Store the reply under which a member has just agreed.

        Args:
            who: The member who agreed.
            message_id: The message whose button was pressed; any other reply stays unstored.
        """
        waiting = self._undecided.take(who, message_id)
        if waiting is not None:
            await self._store_impression(who, *waiting)

    def forget(self, leaving: Leaving) -> None:
        """Drop the waiting replies of the members that leave."""
        self._undecided.forget(leaving)

    def _tell(self, place: Place, decision: Decision) -> None:
        if self.observer is not None and decision.asker.may_be_remembered:
            self.observer.posted(place, decision)

    async def _store_impression(self, who: Who, place: Place, decision: Decision) -> ReplyId | None:
        consent, _ = await consent_of(self._store, who)
        if decision.asker.left:
            return None
        if consent is Consent.UNKNOWN and decision.asker.may_be_remembered:
            self._undecided.put(who, place, decision)
        if consent is not Consent.AGREED:
            return None
        try:
            return await self._store.replies.record(
                who, place, decision.impression, under=decision.asker.under
            )
        except NoConsent:  # withdrawn, forgotten or agreed anew since the reply was decided
            return None
