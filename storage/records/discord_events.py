"""Events on Discord's messages that the store applies, and their result.

No SQL and no keys here. Import them from :mod:`storage.records`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from storage.records.identifiers import MemberId, Who


@dataclass(frozen=True, slots=True)
class Reacted:
    """A reaction was added or removed; ``burst`` marks a super reaction."""

    channel_id: int
    message_id: int
    who: Who
    emoji: str
    burst: bool
    added: bool


@dataclass(frozen=True, slots=True)
class Cleared:
    """All members' reactions on a message were removed; with ``emoji``, only those of that emoji."""

    channel_id: int
    message_id: int
    emoji: str | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """A message was deleted."""

    channel_id: int
    message_id: int


@dataclass(frozen=True, slots=True)
class Observed:
    """The current reactions on a message, as read back from Discord.

    Attributes:
        guild_id: The server, or :data:`DIRECT_MESSAGES`.
        users: (emoji, burst) -> ids of users who gave it; stored reactions not listed here are removed.
        skipped: (emoji, burst) that were not requested from Discord; their stored reactions stay.
    """

    channel_id: int
    message_id: int
    guild_id: int
    users: Mapping[tuple[str, bool], frozenset[int]]
    skipped: frozenset[tuple[str, bool]] = frozenset()


DiscordEvent = Reacted | Cleared | Deleted | Observed
"""An event on one message. Events are applied in the order of the gateway."""


@dataclass(frozen=True, slots=True)
class Applied:
    """Result of applying a batch of events.

    Attributes:
        n_taken: Events about a stored reply by members who agreed.
        members: Members whose feedback changed.
        n_changes: Number of (member, reply) pairs whose feedback changed.
        n_unreadable: Rows of feedback that cannot be opened or whose member has no key; left unchanged.
    """

    n_taken: int = 0
    members: frozenset[MemberId] = frozenset()
    n_changes: int = 0
    n_unreadable: int = 0
