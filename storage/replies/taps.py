"""Choices of the six taps: which pair of the bot's own texts a member answered, and with what.

They are choices between two texts like all others (:mod:`storage.replies.preferences`), in the same table and
under the same seals, with the name of their pair. A member has at most one for each pair. A new one holds
what the member picked about the pair before, so that an undo puts it back. Reached as ``Store.taps``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from sqlalchemy import Connection, func, select

from storage.database.backend import Reader
from storage.database.schema import preferences
from storage.database.writer import Writer
from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.members.decision_times import DecisionTimes
from storage.members.learning_pause import require_learning
from storage.records import MemberId, Pick, Who
from storage.replies.choice_rows import choice_of, rows_of, take_back
from storage.replies.preferences import record_pick

MOST_READ = 5000
"""Largest number of a member's latest choices that are read to find those of the six taps."""


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

    async def record(self, who: Who, tap: str, pick: Pick, *, since: int) -> bool:
        """Store a choice, in place of an earlier one about the same pair.

        Args:
            who: The member.
            tap: Name of the pair.
            pick: The choice.
            since: Number of the member's latest choice when these taps began.

        Returns:
            False, and nothing is stored, if the pair was answered since.

        Raises:
            NoConsent: The member did not agree, or agreed anew since the press.
            LearningPaused: The member paused learning.
        """
        at = self._now()

        def write(connection: Connection) -> bool:
            member_id = self._keys.pseudonyms.member(who)
            require_learning(connection, member_id, who, self._decided)
            earlier = _taps(connection, self._keys, member_id).get(tap, 0)
            if earlier > since:
                return False
            decided = self._decided
            record_pick(connection, self._keys, who, pick, at=at, decided=decided, tap=tap, replaces=earlier)
            return True

        return await self._writer.submit(write)

    async def undo(self, who: Who, taps: Collection[str], *, since: int, until: int | None = None) -> int:
        """Take back the choices about these pairs that were made in a row of taps.

        A choice that one of them replaced counts again.

        Args:
            who: The member.
            taps: Names of the pairs.
            since: Number of the member's latest choice when the row began.
            until: Number of the latest choice of the row; None: all later ones are of the row.

        Returns:
            The number of choices that were taken back.
        """

        def write(connection: Connection) -> int:
            member_id = self._keys.pseudonyms.member(who)
            found = _taps(connection, self._keys, member_id)
            given = [number for tap, number in found.items() if tap in taps and number > since]
            own = [number for number in given if until is None or number <= until]
            return sum(take_back(connection, self._keys, member_id, number) for number in own)

        return await self._writer.submit(write)

    async def of(self, who: Who) -> dict[str, int]:
        """Return the pairs that this member answered, and the number of each choice."""
        member_id = self._keys.pseudonyms.member(who)
        return await self._reader.run(lambda c: _taps(c, self._keys, member_id))

    async def latest(self, who: Who) -> int:
        """Return the number of the member's latest choice between two texts; 0 without any."""
        member_id = self._keys.pseudonyms.member(who)
        newest = select(func.max(preferences.c.preference_id)).where(preferences.c.member_id == member_id)
        return await self._reader.run(lambda c: c.execute(newest).scalar()) or 0


def _taps(connection: Connection, keys: KeyStore, member_id: MemberId) -> dict[str, int]:
    """Return the number of the latest choice about each pair; unreadable ones are left out."""
    key = keys.usable_keys_of([member_id]).get(member_id)
    found: dict[str, int] = {}
    if key is None:
        return found
    for row in rows_of(connection, [member_id], MOST_READ):
        try:
            tap = choice_of(row, key).get("tap") if row.first_reply is None else None
        except SealBroken:
            continue
        if tap is not None:
            found[tap] = row.preference_id
    return found
