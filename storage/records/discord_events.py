"""What happens on Discord's messages, as the store is told of it, and what it came to.

No SQL and no keys here. Import them from :mod:`storage.records`, like all records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from storage.records.identifiers import MemberId, Who


@dataclass(frozen=True, slots=True)
class Reacted:
    """A reaction was added or taken back; as a super reaction where ``burst``."""

    channel_id: int
    message_id: int
    who: Who
    emoji: str
    burst: bool
    added: bool


@dataclass(frozen=True, slots=True)
class Cleared:
    """Everybody's reactions on a message are gone; with an emoji, those of that emoji."""

    channel_id: int
    message_id: int
    emoji: str | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """A message is gone."""

    channel_id: int
    message_id: int


@dataclass(frozen=True, slots=True)
class Observed:
    """What was read back from Discord: the reactions that stand on a message.

    Attributes:
        guild_id: The server, or :data:`DIRECT_MESSAGES`.
        users: (emoji, burst) -> who gave it; what is not named here stands no more.
        skipped: (emoji, burst) that nobody asked Discord about: they stay as they are stored.
    """

    channel_id: int
    message_id: int
    guild_id: int
    users: Mapping[tuple[str, bool], frozenset[int]]
    skipped: frozenset[tuple[str, bool]] = frozenset()


DiscordEvent = Reacted | Cleared | Deleted | Observed
"""What happened on one message; applied in the order of the gateway."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch of events came to.

    Attributes:
        n_taken: Events about a stored reply by members who agreed.
        members: Whose feedback changed.
        n_changes: How many (member, reply) changed.
        n_unreadable: Feedback that does not open, or whose member has no key: left as it is.
    """

    n_taken: int = 0
    members: frozenset[MemberId] = frozenset()
    n_changes: int = 0
    n_unreadable: int = 0
