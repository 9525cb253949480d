"""A member's wish for the style of replies: presets, own words, and learnt wishes that they switched off.

Sealed under the member's key, in one row per member. A wish is bound to a sequence number, so an older wish
put back does not open. It is neither a label nor a feature: nothing learns from it. Reached as
``Store.wishes``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from storage.database.backend import Reader
from storage.database.change_numbers import next_number
from storage.database.schema import MemberStatus, members, wishes
from storage.database.writer import Writer
from storage.keys.key_store import KeyStore
from storage.keys.sealing import Slot
from storage.members.consent import require_given
from storage.members.decision_times import DecisionTimes
from storage.records import MemberId, Who


@dataclass(frozen=True, slots=True)
class Wish:
    """One member's wish for the style of replies in one server.

    Attributes:
        presets: Names of presets, in the order in which they are offered.
        words: The member's own words; may be empty.
        unwanted: Names of learnt wishes that the member switched off.
    """

    presets: tuple[str, ...] = ()
    words: str = ""
    unwanted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is anything to keep."""
        return bool(self.asks or self.unwanted)

    @property
    def asks(self) -> bool:
        """Whether the member asks for a style."""
        return bool(self.presets or self.words)


NO_WISH = Wish()


class Wishes:
    """Reads and writes wishes. Methods may raise the errors of :class:`storage.store.Store`."""

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

    async def of(self, who: Who) -> Wish:
        """Return this member's wish in this server; :data:`NO_WISH` if none is stored."""
        return await self._reader.run(lambda c: _wish_of(c, self._keys, who))

    async def put(self, who: Who, wish: Wish) -> None:
        """Store a wish, replacing the earlier one; an empty wish deletes it.

        Raises:
            NoConsent: The member did not agree, or wished it before they agreed.
        """
        at = self._now()
        await self._writer.submit(lambda c: _put(c, self._keys, who, wish, at=at, decided=self._decided))
        # Remove the earlier wish from the log.
        await self._writer.submit_alone(lambda _: self._writer.empty_log())


def slot(member_id: MemberId, number: int) -> Slot:
    """Return the place of a sealed wish."""
    return Slot("wishes", "body", member=member_id, version=number)


def _wish_of(connection: Connection, keys: KeyStore, who: Who) -> Wish:
    member_id = keys.pseudonyms.member(who)
    own = (
        select(wishes.c.number, wishes.c.body)
        .join(members)
        .where(wishes.c.member_id == member_id, members.c.standing == MemberStatus.AGREED)
    )
    row = connection.execute(own).first()
    if row is None:
        return NO_WISH
    content = json.loads(keys.key_of(member_id).open(row.body, slot(member_id, row.number)))
    return Wish(tuple(content["presets"]), content["words"], tuple(content.get("unwanted", ())))


def _put(
    connection: Connection,
    keys: KeyStore,
    who: Who,
    wish: Wish,
    *,
    at: datetime,
    decided: DecisionTimes,
) -> None:
    member_id = keys.pseudonyms.member(who)
    require_given(connection, member_id, who, decided)
    connection.execute(delete(wishes).where(wishes.c.member_id == member_id))
    if wish:
        number = next_number(connection)
        content = {"presets": wish.presets, "words": wish.words}
        if wish.unwanted:
            content["unwanted"] = wish.unwanted
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        sealed = keys.key_of(member_id).seal(body, slot(member_id, number))
        row = {"member_id": member_id, "changed_at": at, "number": number, "body": sealed}
        connection.execute(insert(wishes).values(**row))
