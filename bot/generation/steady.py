"""Cuts a history so that its beginning stays the same while the conversation grows.

A cache of prefixes serves the next prompt only if that prompt starts with the same messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar
from zlib import crc32


class HasId(Protocol):
    """A message of Discord."""

    id: int


T = TypeVar("T", bound=HasId)
_SHORTEST = 4
"""A history of fewer messages is not cut in steps."""


def steady_start(texts: Sequence[str], most: int) -> int:
    """Return the index at which a history of at most ``most`` turns starts.

    If the history is longer, it starts at the turn with the smallest checksum in the older half of the turns
    that may stay. The same turn is chosen again while the conversation grows, until it is too old. A start
    that moves with every message would make every prefix of a prompt new.

    Args:
        texts: Text of each turn, oldest first.
        most: Most turns that may stay.
    """
    if len(texts) <= most or most <= 0:
        return max(0, len(texts) - most)
    older_half = range(len(texts) - most, len(texts) - most // 2)
    return min(older_half, key=lambda i: crc32(texts[i].encode(errors="surrogatepass")))


def steadied(messages: list[T], most: int) -> list[T]:
    """Return the latest messages of a history, from a message at which it will start again.

    A history with fewer than ``most`` messages is whole, and stays so.
    """
    if len(messages) < max(most, _SHORTEST):
        return messages
    return messages[steady_start([str(one.id) for one in messages], most - 1) :]
