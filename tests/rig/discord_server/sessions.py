"""One session of one shard: which events it gets, their sequence numbers, and what a RESUME repeats."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import discord
from simcord.backend import Backend
from simcord.gateway import FakeGateway

_MOST_KEPT = 10_000
"""Events that a session keeps for a RESUME; an older sequence number cannot be resumed."""


class Sends(Protocol):
    """A connection."""

    def send(self, frame: str) -> None:
        """Send a frame, after all frames before it."""
        ...


class _Client:
    """What simcord's shaping of events reads of a client: its intents and its parsers."""

    def __init__(self, intents: discord.Intents, put: Callable[[str, Mapping[str, Any]], None]) -> None:
        self.intents, self.parsers, self._put = intents, self, put

    def __getitem__(self, event: str) -> Callable[[Mapping[str, Any]], None]:
        return partial(self._put, event)

    get = __getitem__


class Session:
    """A session of one shard.

    Attributes:
        session_id: Its id, secret.
        shard_id: Its shard.
        shard_count: The number of shards that its process was told.
        connection: Where its events go; None: the connection is lost, and events wait for a RESUME.
        sequence: Number of its last event.
        shaper: Drops and shortens events by the intents, as simcord does.
    """

    def __init__(
        self, backend: Backend, session_id: str, shard: tuple[int, int], intents: discord.Intents
    ) -> None:
        self.session_id = session_id
        self.shard_id, self.shard_count = shard
        self.connection: Sends | None = None
        self.sequence = 0
        self.shaper = FakeGateway(backend, _Client(intents, self.put))
        self._kept: deque[tuple[int, str]] = deque(maxlen=_MOST_KEPT)

    def owns(self, guild_id: int | None) -> bool:
        """Return whether events of this server come here; None: of no server, as in direct messages."""
        return (0 if guild_id is None else (guild_id >> 22) % self.shard_count) == self.shard_id

    def put(self, event: str, payload: Mapping[str, Any]) -> None:
        """Send an event, or keep it until the session is resumed."""
        self.sequence += 1
        frame = json.dumps({"op": 0, "t": event, "s": self.sequence, "d": payload})
        self._kept.append((self.sequence, frame))
        if self.connection is not None:
            self.connection.send(frame)

    def can_resume(self, sequence: int) -> bool:
        """Return whether all events after this one are kept."""
        oldest = self._kept[0][0] if self._kept else 1
        return oldest - 1 <= sequence <= self.sequence

    def resume(self, connection: Sends, sequence: int, *, n_again: int) -> None:
        """Send all events after ``sequence``, and ``n_again`` before it once more, then RESUMED."""
        self.connection = connection
        for number, frame in self._kept:
            if number > sequence - n_again:
                connection.send(frame)
        self.put("RESUMED", {})
