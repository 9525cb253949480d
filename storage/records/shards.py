"""Shards: the parts of a bot's servers that Discord sends over separate connections.

No SQL and no keys here. Import the names from :mod:`storage.records`.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_SHARDS = 16_384
"""Largest number of shards; enough for 40 million servers."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the ``count`` connections over which Discord sends a bot's events.

    Attributes:
        id: Number of the connection, from 0.
        count: Number of connections of the bot, in all processes together.
    """

    id: int
    count: int

    @classmethod
    def of(cls, guild_id: int, count: int) -> Shard:
        """Return the shard that owns a server; direct messages (guild id 0) belong to shard 0."""
        return cls((guild_id >> 22) % count, count)


@dataclass(frozen=True, slots=True)
class ServerList:
    """The complete list of one shard's servers, as Discord sends it at the beginning of a session.

    Attributes:
        shard: The shard.
        session: Name of the session; two lists of one session are one observation.
        guild_ids: Discord ids of all servers, reachable or not.
    """

    shard: Shard
    session: str
    guild_ids: frozenset[int]
