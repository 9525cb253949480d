"""A member's pause of learning: nothing new is recorded, earlier data stay.

Taking back, undoing and leaving still work, because they only remove data. The pause is stored with the
member's decision, so it survives a restart and is deleted with an erasure. Reached as ``Store.pauses``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, select, update

from storage.database.backend import Reader
from storage.database.schema import members
from storage.database.writer import Writer
from storage.errors import LearningPaused
from storage.keys.key_store import KeyStore
from storage.members.consent import key_id_of, require_given
from storage.members.decision_times import DecisionTimes
from storage.records import MemberId, Who


class Pauses:
    """Reads, starts and ends pauses. Methods may raise the errors of :class:`storage.store.Store`."""

    def __init__(
        self,
        keys: KeyStore,
        reader: Reader,
        writer: Writer,
        *,
        now: Callable[[], datetime],
        decided: DecisionTimes,
    ) -> None:
        self._keys, self._reader, self._writer, self._now = keys, reader, writer, now
        self._decided = decided

    async def is_paused(self, who: Who) -> bool:
        """Return whether this member paused learning in this server."""
        member_id = self._keys.pseudonyms.member(who)
        return await self._reader.run(lambda c: is_paused(c, member_id))

    async def pause(self, who: Who) -> None:
        """Stop recording new data of this member. Idempotent; a press that a later one overtook does nothing.

        Raises:
            NoConsent: The member did not agree.
        """
        await self._put(who, {"paused": True})

    async def resume(self, who: Who) -> None:
        """Resume recording. Feedback given during the pause is not read back. Idempotent.

        Raises:
            NoConsent: The member did not agree.
        """
        at = self._now()
        await self._put(who, {"paused": False, "resumed_at": at}, resumed_at=at)

    async def _put(self, who: Who, values: dict[str, object], *, resumed_at: datetime | None = None) -> None:
        member_id = self._keys.pseudonyms.member(who)
        changes = members.c.paused != values["paused"]

        def unit(connection: Connection) -> None:
            require_given(connection, member_id, who, self._decided)
            key_id = key_id_of(connection, member_id)
            if self._decided.is_overtaken(key_id, who.came):
                return
            own = update(members).where(members.c.member_id == member_id, changes).values(values)
            if connection.execute(own).rowcount and resumed_at is not None:
                self._decided.note(key_id, resumed_at, who.came)

        await self._writer.submit(unit)


def is_paused(connection: Connection, member_id: MemberId) -> bool:
    """Return whether this member paused learning; False for unknown members."""
    paused = select(members.c.paused).where(members.c.member_id == member_id)
    return bool(connection.execute(paused).scalar())


def require_learning(connection: Connection, member_id: MemberId, who: Who, decided: DecisionTimes) -> None:
    """Check that the member agrees and learning is not paused, now and when they acted.

    Every act that adds a label or a remark passes this check in its writing transaction.

    Args:
        connection: The writing transaction.
        member_id: Pseudonym of the member.
        who: The member, with the time and the consent of their act.
        decided: Decisions of this process.

    Raises:
        NoConsent: The member does not agree, or acted before they agreed.
        LearningPaused: Learning is paused, or the member acted before they resumed it.
    """
    reactor = require_given(connection, member_id, who, decided)
    waited = who.came is not None and decided.is_older(who.came, reactor, now=decided.arrival())
    if reactor.paused or waited:
        raise LearningPaused
