"""A member's pause: what they do in the meantime is not recorded, what they told before stays.

Taking back, undoing and leaving go on, because they only ever make less. The pause stands with the member's
decision, so it survives a restart and goes with a forget. Reached as ``Store.pauses``.
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
from storage.members.consent import require_agreed
from storage.records import MemberId, Who


class Pauses:
    """Begins and ends them. Methods may raise what those of the store do."""

    def __init__(
        self, keys: KeyStore, reader: Reader, writer: Writer, *, now: Callable[[], datetime]
    ) -> None:
        self._keys, self._reader, self._writer, self._now = keys, reader, writer, now

    async def is_paused(self, who: Who) -> bool:
        """Whether this member paused learning in this server."""
        member_id = self._keys.pseudonyms.member(who)
        return await self._reader.run(lambda c: is_paused(c, member_id))

    async def pause(self, who: Who) -> None:
        """Record nothing new of this member from now on. Idempotent.

        Raises:
            NoConsent: The member did not agree.
        """
        await self._put(who, {"paused": True})

    async def resume(self, who: Who) -> None:
        """Go on learning; what was given meanwhile is not read back, though it still stands. Idempotent.

        Raises:
            NoConsent: The member did not agree.
        """
        await self._put(who, {"paused": False, "resumed_at": self._now()})

    async def _put(self, who: Who, values: dict[str, object]) -> None:
        member_id = self._keys.pseudonyms.member(who)
        changes = members.c.paused != values["paused"]

        def unit(connection: Connection) -> None:
            require_agreed(connection, member_id)
            connection.execute(
                update(members).where(members.c.member_id == member_id, changes).values(values)
            )

        await self._writer.submit(unit)


def is_paused(connection: Connection, member_id: MemberId) -> bool:
    """Whether this member paused learning; False for strangers."""
    paused = select(members.c.paused).where(members.c.member_id == member_id)
    return bool(connection.execute(paused).scalar())


def require_learning(connection: Connection, member_id: MemberId) -> None:
    """Stop when the member paused learning.

    Raises:
        LearningPaused: They did.
    """
    if is_paused(connection, member_id):
        raise LearningPaused
