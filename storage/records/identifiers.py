"""Identifiers of members, replies and servers, used throughout storage.

No SQL and no keys here. Import them from :mod:`storage.records`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NewType

from storage.records.arrival import Arrival

PSEUDONYM_BYTES = 16

MemberId = NewType("MemberId", bytes)
"""Pseudonym of one person in one server: 16 bytes of an HMAC over (guild, user). Never a Discord id."""

ReplyId = NewType("ReplyId", int)
"""Number of one reply of the bot, shared by all its chunks."""

NOWHERE = ReplyId(0)
"""Number of no reply. It is looked up like any other, so that both answers take the same time."""

DIRECT_MESSAGES = 0
"""Guild id for direct messages, which count as a server."""


@dataclass(frozen=True, slots=True)
class Who:
    """One person in one server, by Discord id. Kept in memory only.

    Attributes:
        guild_id: Discord server id, or :data:`DIRECT_MESSAGES`.
        user_id: Discord user id.
        under: Number of the key that the member agreed under when their act began. The writing transaction
            refuses a change under another key: the member was forgotten and agreed again meanwhile. None:
            any consent will do.
        came: When the act came that this member does. The store judges consent and pause by it, so an act
            that waited counts as if it were written at once. None: it is judged as it is written.
    """

    guild_id: int
    user_id: int
    under: bytes | None = field(default=None, compare=False, repr=False)
    came: Arrival | None = field(default=None, compare=False, repr=False)
