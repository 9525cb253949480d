"""Order of members' decisions and of the events that come in this process, whatever the host clock does.

A host clock that is set back makes a new event look older than the decision before it. So each decision that
this process writes is remembered with the time of the monotonic clock. A decision of another process, or from
before a restart, is judged by the host clock.
"""

from __future__ import annotations

from datetime import datetime
from time import monotonic
from typing import Any, NamedTuple

from cachetools import LRUCache

from storage.records import Arrival

MOST_REMEMBERED = 10_000
"""Decisions remembered at once; the least recently used one is evicted."""


class Reactor(NamedTuple):
    """A member who agreed: when their reactions start to count, and whether they paused learning.

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
        """Time of the host clock from which reactions count."""
        return max(self.decisions)


class DecisionTimes:
    """Times of the decisions of this process, by the number of the key that the member agreed under."""

    def __init__(self) -> None:
        self._known: LRUCache[bytes, Arrival] = LRUCache(MOST_REMEMBERED)

    def note(self, key_id: bytes | None, at: datetime) -> None:
        """Remember that the owner of this key agreed, or resumed learning, just now.

        Args:
            key_id: Number of the key; nothing is remembered without one.
            at: The time that is stored as the time of the decision.
        """
        if key_id is not None:
            self._known[key_id] = Arrival(at, monotonic())

    def is_older(self, came: Arrival, reactor: Reactor, *, now: Arrival) -> bool:
        """Return whether an event came before the member's latest decision.

        Args:
            came: When the event came.
            reactor: The member.
            now: The time of writing.
        """
        decided = None if reactor.key_id is None else self._known.get(reactor.key_id)
        if decided is not None and decided.at == reactor.decisions[-1]:
            return came.monotonic_s < decided.monotonic_s
        return came.came_by(now) < reactor.since
