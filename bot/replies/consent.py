"""Replies of members who have not decided about learning yet.

Their latest reply waits in memory. If the member agrees under that very reply, it is stored, and their first
click counts. The invitation to learning comes back a few times, until the member decides.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from cachetools import LRUCache

from bot.memory import Leaving
from bot.replies.decision import Asker, Decision
from storage.errors import StorageError
from storage.records import Consent, MemberId, Place, Who
from storage.store import Store
from storage.tallies import SharedClaims, Tallies

log = logging.getLogger(__name__)

AGAIN_AFTER = (5, 50)
"""Unanswered replies after which the invitation to learning comes back."""
INVITED_S = 90 * 86_400.0
"""Seconds for which every process remembers that a member was invited."""
MOST_REPLIES = 50
"""Messages of replies to one undecided member that are remembered."""
MOST_MEMBERS = 1000
"""Members whose latest reply waits for their decision at once."""


def invitations(tallies: Tallies) -> SharedClaims:
    """Return the claims of members who were invited to learning, in any process."""
    return SharedClaims(tallies, "invited", INVITED_S)


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


@dataclass(slots=True)
class _Invited:
    """A member who has not answered the invitation: replies since, and whether a reaction was explained."""

    n_replies: int = 0
    message_ids: deque[int] = field(default_factory=lambda: deque(maxlen=MOST_REPLIES))
    explained: bool = False


class Unanswered:
    """Members who were invited to learning and have not decided, in memory only.

    A member is invited again after :data:`AGAIN_AFTER` further replies, and not after that. A member who was
    forgotten is not here any more, so nothing is asked again.
    """

    def __init__(self) -> None:
        self._invited: LRUCache[Who, _Invited] = LRUCache(MOST_MEMBERS)

    def begin(self, who: Who) -> None:
        """Note that a member is invited for the first time."""
        self._invited[who] = _Invited()

    def invites_again(self, who: Who) -> bool:
        """Count one more reply to a member, and return whether the invitation comes back under it."""
        if (invited := self._invited.get(who)) is None:
            return False
        invited.n_replies += 1
        return invited.n_replies in AGAIN_AFTER

    def not_posted(self, who: Who) -> bool:
        """Take back the latest reply to a member, and return whether the first invitation was under it."""
        if (invited := self._invited.get(who)) is None:
            return False
        if not invited.n_replies:
            del self._invited[who]
            return True
        invited.n_replies -= 1
        return False

    def posted(self, who: Who, message_ids: Sequence[int]) -> None:
        """Remember the messages of a reply to a member who has not decided."""
        if (invited := self._invited.get(who)) is not None:
            invited.message_ids.extend(message_ids)

    def explains(self, who: Who, message_id: int) -> bool:
        """Return whether to explain a member's reaction: the first one to a reply to them, once."""
        invited = self._invited.get(who)
        if invited is None or invited.explained or message_id not in invited.message_ids:
            return False
        invited.explained = True
        return True

    def forget(self, leaving: Leaving) -> None:
        """Drop the members that leave."""
        for who in [who for who in self._invited if leaving.includes(who)]:
            del self._invited[who]


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
