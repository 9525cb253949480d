"""Order of members' decisions and of the events that come in this process, whatever the host clock does.

A host clock that is set back makes a new event look older than the decision before it. So each decision that
this process writes is remembered with the time of the monotonic clock. A decision of another process, or from
before a restart, is judged by the host clock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import Any, NamedTuple

from cachetools import LRUCache

from storage.records import Arrival

MOST_REMEMBERED = 10_000
"""Decisions remembered at once; the least recently used one is evicted."""


class Reactor(NamedTuple):
    """A member who agreed: when their acts start to count, and whether they paused learning.

    Attributes:
        guild: Pseudonym of the member's server.
        decisions: Stored times of the decisions, in the order in which they were made.
        paused: Whether learning is paused.
        key_id: Number of the member's key.
    """

    guild: bytes
    decisions: tuple[datetime, ...]
    paused: bool
    key_id: bytes | None

    @classmethod
    def of(cls, row: Any) -> Reactor:
        """Create from a row of ``members``."""
        decisions = [at for at in (row.decided_at, row.resumed_at) if at is not None]
        return cls(row.guild, tuple(decisions), row.paused, row.key_id)

    @property
    def since(self) -> datetime:
        """Time of the host clock from which acts count."""
        return max(self.decisions)


class DecisionTimes:
    """Times of the decisions of this process, by the number of the key that the member agreed under.

    Args:
        now: The host clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._known: LRUCache[tuple[bytes, datetime], Arrival] = LRUCache(MOST_REMEMBERED)
        self._switched: LRUCache[bytes, Arrival] = LRUCache(MOST_REMEMBERED)

    def arrival(self, sent_at: datetime | None = None) -> Arrival:
        """Return the time at which an act comes now; ``sent_at`` is Discord's own time of it. No I/O."""
        return Arrival(self._now(), monotonic(), sent_at)

    def note(self, key_id: bytes | None, at: datetime, came: Arrival | None = None) -> None:
        """Remember that the owner of this key agreed, or resumed learning, just now.

        Args:
            key_id: Number of the key; nothing is remembered without one.
            at: The time that is stored as the time of the decision.
            came: When the act came by which they decided.
        """
        if key_id is not None:
            self._known[key_id, at] = Arrival(at, monotonic(), None if came is None else came.sent_at)

    def is_overtaken(self, key_id: bytes | None, came: Arrival | None) -> bool:
        """Return whether a later pause or end of a pause is in force already; if not, remember this one.

        Args:
            key_id: Number of the member's key.
            came: When the act came; None: now.
        """
        came = came or self.arrival()
        latest = None if key_id is None else self._switched.get(key_id)
        if latest is not None and came.is_before(latest):
            return True
        if key_id is not None:
            self._switched[key_id] = came
        return False

    def is_before_consent(self, came: Arrival, reactor: Reactor) -> bool:
        """Return whether an act came before the member agreed."""
        now = self.arrival()
        return self.is_older(came, reactor, now=now) and self._is_before(
            came, reactor, reactor.decisions[:1], now
        )

    def is_older(self, came: Arrival, reactor: Reactor, *, now: Arrival) -> bool:
        """Return whether an act came before the member's latest decision.

        Args:
            came: When the act came.
            reactor: The member.
            now: The time of writing.
        """
        return self._is_before(came, reactor, reactor.decisions, now)

    def _is_before(
        self, came: Arrival, reactor: Reactor, decisions: tuple[datetime, ...], now: Arrival
    ) -> bool:
        known = None if reactor.key_id is None else self._known.get((reactor.key_id, decisions[-1]))
        return came.came_by(now) < max(decisions) if known is None else came.is_before(known)
