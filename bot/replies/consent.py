"""Replies of members who have not decided about learning yet.

Their latest reply waits in memory. If the member agrees under that very reply, it is stored, and their first
click counts.
"""

from __future__ import annotations

import logging

from cachetools import LRUCache

from bot.memory import Leaving
from bot.replies.decision import Asker, Decision
from storage.errors import StorageError
from storage.records import Consent, MemberId, Place, Who
from storage.store import Store

log = logging.getLogger(__name__)

MOST_MEMBERS = 1000
"""Members whose latest reply waits for their decision at once."""


class Undecided:
    """The latest reply of each member who has not decided, in memory only."""

    def __init__(self) -> None:
        self._latest: LRUCache[Who, tuple[Place, Decision]] = LRUCache(MOST_MEMBERS)

    def put(self, who: Who, place: Place, decision: Decision) -> None:
        """Keep a member's latest reply in place of the one before."""
        self._latest[who] = (place, decision)

    def take(self, who: Who, message_id: int | None) -> tuple[Place, Decision] | None:
        """Remove a member's reply, and return it if it is the one in this message."""
        waiting = self._latest.pop(who, None)
        return waiting if waiting is not None and message_id in waiting[0].message_ids else None

    def forget(self, leaving: Leaving) -> None:
        """Drop the replies of the members that leave."""
        for who in [who for who in self._latest if leaving.includes(who)]:
            del self._latest[who]


async def agreed_under(store: Store, asker: Asker) -> tuple[Consent, MemberId | None]:
    """Return a member's decision as :func:`consent_of`, and note on the asker the key that it holds under."""
    try:
        asker.under = await store.consent.key_id_of(asker.who)
    except StorageError as exc:
        log.warning("consent could not be read (%s); nothing is recorded of this reply", type(exc).__name__)
        return Consent.REFUSED, None
    consent, member_id = await consent_of(store, asker.who)
    if consent is Consent.AGREED and asker.under is None:  # agreed between the two reads
        return Consent.UNKNOWN, None
    return consent, member_id


async def consent_of(store: Store, who: Who) -> tuple[Consent, MemberId | None]:
    """Return a member's decision, and their id if they agreed.

    While the store does not answer, every member counts as one who refused: nothing is recorded.
    """
    try:
        consent = await store.consent.of(who)
        return consent, store.member_id(who) if consent is Consent.AGREED else None
    except StorageError as exc:
        log.warning("consent could not be read (%s); nothing is recorded of this reply", type(exc).__name__)
        return Consent.REFUSED, None
