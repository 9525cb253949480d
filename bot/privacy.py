"""Consent and forgetting: carries out members' decisions in the store, in memory and in learnt data.

No discord import: the panel (:mod:`bot.ui.privacy_panel`) shows it, the client holds the one instance.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from bot.memory import MemberMemory
from bot.replies.decision import Asker, Askers
from storage.errors import NoConsent
from storage.records import Consent, DataSummary, ForgetReceipt, Who
from storage.store import Store


class Privacy:
    """Carries out what members decide about their data. Methods may raise the errors of the store.

    Args:
        store: Consent and data.
        memory: Everything in memory that holds data of members.
        agreed: Called after a member agreed, with the message whose button was pressed; stores the reply
            and the wish that waited.
        retrain: Schedules retraining of everything that a member who left contributed to.
    """

    def __init__(
        self,
        store: Store,
        memory: MemberMemory,
        *,
        agreed: Callable[[Who, int | None], Awaitable[None]],
        retrain: Callable[[], None],
    ) -> None:
        self._store, self._memory = store, memory
        self._agreed, self._retrain = agreed, retrain
        self._deciding = Askers()
        memory.register("acts under way", self._deciding)

    async def consent_of(self, who: Who) -> Consent:
        """Return what this member decided in this server."""
        return await self._store.consent.of(who)

    async def summary(self, who: Who) -> DataSummary:
        """Return how much is kept about this member in this server."""
        return await self._store.privacy.summary(who)

    def begin(self, who: Who) -> Asker:
        """Register a member who has just used a command, a button or a form, as long as it is carried out."""
        return self._deciding.begin(who)

    async def agree(self, deciding: Asker, message_id: int | None) -> bool:
        """Record that a member agrees, and store the reply under which they agreed.

        Args:
            deciding: The member, from :meth:`begin` at the press.
            message_id: The message whose button was pressed; None without one.

        Returns:
            False, and nothing is recorded, if the member was forgotten or withdrew since the press.
        """
        try:
            await self._store.consent.record(deciding.who, overtaken=lambda: deciding.left)
        except NoConsent:
            return False
        await self._agreed(deciding.who, message_id)
        return True

    async def refuse(self, who: Who) -> ForgetReceipt:
        """Forget a member in one server, and store the refusal; the bot still answers them."""
        forget = partial(self._memory.forget_member, who)
        return self._retrained(await self._store.privacy.refuse(who, forget))

    async def forget(self, user_id: int) -> ForgetReceipt:
        """Forget a person in every server: in the store, in memory, and in the data learnt from them."""
        forget = partial(self._memory.forget_person, user_id)
        return self._retrained(await self._store.privacy.forget(user_id, forget))

    def _retrained(self, receipt: ForgetReceipt) -> ForgetReceipt:
        if receipt.member_ids:
            self._retrain()
        return receipt
