"""Choices of the six taps: which pair of the bot's own texts a member answered, and with what.

They are choices between two texts like all others (:mod:`storage.replies.preferences`), in the same table and
under the same seals, with the name of their pair. A member has at most one for each pair. A new one holds
what the member picked about the same two texts before, so that an undo puts it back. Each holds the number of
the row of taps in which it was made, so a row undoes its own choices alone. Reached as ``Store.taps``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from storage.database.backend import Reader
from storage.database.change_numbers import next_number
from storage.database.writer import Writer
from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.members.decision_times import DecisionTimes
from storage.members.learning_pause import require_learning
from storage.records import MemberId, Pick, Picked, Who
from storage.replies.choice_rows import choice_of, drop_replaced, rows_of, take_back
from storage.replies.preferences import record_pick

MOST_READ = 5000
"""Largest number of a member's latest choices that are read to find those of the six taps."""


class Undone(NamedTuple):
    """Result of an undo.

    Attributes:
        n: Number of choices that were taken back.
        again: Whether an earlier choice counts again in place of one of them.
    """

    n: int
    again: bool


@dataclass(frozen=True, slots=True)
class _Tap:
    """The choice about a pair that counts.

    Attributes:
        number: Its number.
        picked: What was picked.
        row: Number of its row of taps.
        replaced_row: Number of the row of the choice that it replaced; None if its undo puts nothing back.
    """

    number: int
    picked: Picked
    row: int | None
    replaced_row: int | None


class Taps:
    """Stores and reads choices of the six taps. Methods may raise the errors of the store."""

    def __init__(
        self,
        keys: KeyStore,
        reader: Reader,
        *,
        writer: Writer,
        now: Callable[[], datetime],
        decided: DecisionTimes,
    ) -> None:
        self._keys, self._reader, self._writer = keys, reader, writer
        self._now, self._decided = now, decided

    async def begin(self) -> int:
        """Return the number of a new row of taps; it is larger than that of each choice so far."""
        return await self._writer.submit(lambda connection: next_number(connection))

    async def record(self, who: Who, tap: str, pick: Pick, *, since: int) -> bool:
        """Store a choice, in place of an earlier one about the same pair.

        Args:
            who: The member.
            tap: Name of the pair.
            pick: The choice.
            since: Number of the row of taps, from :meth:`begin`.

        Returns:
            False, and nothing is stored, if the pair was answered since the row began, in it or in another.

        Raises:
            NoConsent: The member did not agree, or agreed anew since the press.
            LearningPaused: The member paused learning.
        """
        at = self._now()

        def write(connection: Connection) -> bool:
            member_id = self._keys.pseudonyms.member(who)
            require_learning(connection, member_id, who, self._decided)
            earlier = _taps(connection, self._keys, member_id).get(tap)
            if earlier is not None and earlier.number > since:
                return False
            record_pick(
                connection,
                self._keys,
                who,
                pick,
                at=at,
                decided=self._decided,
                tap=(tap, since),
                replaces=0 if earlier is None else earlier.number,
            )
            return True

        return await self._writer.submit(write)

    async def undo(self, who: Who, taps: Collection[str], *, since: int) -> Undone:
        """Take back the choices about these pairs that were made in a row of taps.

        A choice that one of them replaced counts again. A choice of the row that a later row replaced is
        deleted there, so the undo of the later one does not bring it back.

        Args:
            who: The member.
            taps: Names of the pairs.
            since: Number of the row.
        """

        def write(connection: Connection) -> Undone:
            member_id = self._keys.pseudonyms.member(who)
            found = _taps(connection, self._keys, member_id)
            about = {tap: known for tap, known in found.items() if tap in taps}
            own = {tap: known.number for tap, known in about.items() if known.row == since}
            for number in own.values():
                take_back(connection, self._keys, member_id, number)
            for known in about.values():
                if known.row != since and known.replaced_row == since:
                    drop_replaced(connection, self._keys, member_id, known.number)
            left = _taps(connection, self._keys, member_id)
            return Undone(len(own), any(tap in left for tap in own))

        return await self._writer.submit(write)

    async def of(self, who: Who) -> dict[str, int]:
        """Return the pairs that this member answered, and the number of each choice."""
        found = await self._read(who)
        return {tap: known.number for tap, known in found.items()}

    async def of_row(self, who: Who, since: int) -> dict[str, Picked]:
        """Return the choices of a row of taps that count, by the name of the pair."""
        found = await self._read(who)
        return {tap: known.picked for tap, known in found.items() if known.row == since}

    async def _read(self, who: Who) -> dict[str, _Tap]:
        member_id = self._keys.pseudonyms.member(who)
        return await self._reader.run(lambda c: _taps(c, self._keys, member_id))


def _taps(connection: Connection, keys: KeyStore, member_id: MemberId) -> dict[str, _Tap]:
    """Return the latest choice about each pair; unreadable ones are left out."""
    key = keys.usable_keys_of([member_id]).get(member_id)
    found: dict[str, _Tap] = {}
    if key is None:
        return found
    for row in rows_of(connection, [member_id], MOST_READ):
        try:
            choice = choice_of(row, key) if row.first_reply is None else {}
        except SealBroken:
            continue
        if (tap := choice.get("tap")) is not None:
            before: dict[str, Any] = choice.get("replaced") or {}
            found[tap] = _Tap(
                row.preference_id, Picked(choice["picked"]), choice.get("row"), before.get("row")
            )
    return found
