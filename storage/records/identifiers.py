"""Who and what is meant: the identifiers that everything in storage goes by.

No SQL and no keys here. Import them from :mod:`storage.records`, with the records that carry them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

PSEUDONYM_BYTES = 16

MemberId = NewType("MemberId", bytes)
"""Pseudonym of one person in one server: 16 bytes of an HMAC over (guild, user). Never a Discord id."""

ReplyId = NewType("ReplyId", int)
"""One reply of the bot; all chunks it was posted in share it."""

DIRECT_MESSAGES = 0
"""The guild id under which direct messages are kept: a server of their own."""


@dataclass(frozen=True, slots=True)
class Who:
    """One person in one server, by Discord id. Lives in memory only.

    Attributes:
        guild_id: Discord server id, or :data:`DIRECT_MESSAGES`.
        user_id: Discord user id.
    """

    guild_id: int
    user_id: int
