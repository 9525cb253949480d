"""Finds what memory holds of a member: walks the graph of objects from given roots.

The walk enters objects of our packages and plain containers (also closures, tasks and weak references), and
nothing else. discord.py and simcord have their own caches, as Discord's client and Discord itself do.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import types
import weakref
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from storage.records import DIRECT_MESSAGES, Who
from storage.store import Store

OURS = ("bot", "personalization", "storage")
CONTAINERS = {"builtins", "collections", "_collections", "functools", "weakref", "_weakrefset", "cachetools"}
_CLOSED = (types.ModuleType, type, str, bytes, int, float, types.CodeType, asyncio.AbstractEventLoop)
RUNNING = {"asyncio", "_asyncio", "contextlib", "concurrent"}


class Member:
    """Ids and pseudonyms by which a member is recognised.

    Args:
        store: Computes pseudonyms.
        user_id: Discord id.
        guild_ids: Servers that the member is in, apart from direct messages.
    """

    def __init__(self, store: Store, user_id: int, guild_ids: Iterable[int]) -> None:
        self.user_id = user_id
        places = [Who(guild_id, user_id) for guild_id in (DIRECT_MESSAGES, *guild_ids)]
        self._pseudonyms = [bytes(store.member_id(who)) for who in places]
        names = store._keys.pseudonyms
        self._pseudonyms += [
            names.tally(kind, one) for kind in ("day", "invited") for one in self._pseudonyms
        ]
        self._pseudonyms.append(names.person(user_id))

    def is_named_by(self, found: object) -> bool:
        """Return whether an object is an id, or holds a pseudonym, of the member."""
        return self.has_id(found) or (
            isinstance(found, bytes) and any(name in found for name in self._pseudonyms)
        )

    def has_id(self, found: object) -> bool:
        """Return whether an object is the Discord id, or a text with it."""
        if isinstance(found, str):
            return str(self.user_id) in found
        return type(found) is int and found == self.user_id


def globals_of_ours() -> Iterator[object]:
    """Yield every module-level object of our packages."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in OURS:
            yield from vars(module).values()


def held(
    roots: Iterable[object], member: Member, *, beside: Collection[object] = (), by_id: bool = False
) -> list[str]:
    """Return the way from a root to each object that names the member; empty when none does.

    Args:
        roots: Where the walk begins.
        member: The member to find.
        beside: Objects that are not entered.
        by_id: Look for the Discord id alone, not for pseudonyms.
    """
    names = member.has_id if by_id else member.is_named_by
    seen = {id(one) for one in beside}
    waiting = deque((root, type(root).__name__) for root in roots)
    found: list[str] = []
    keep: list[object] = []  # an object that is gone must not lend its id to another
    while waiting:
        one, way = waiting.popleft()
        if names(one):
            found.append(f"{way} {one!r}"[-400:])
        if id(one) in seen or not _entered(one):
            continue
        seen.add(id(one))
        keep.append(one)
        waiting.extend((inner, f"{way} > {type(inner).__name__}") for inner in _inner(one))
    return found


def _entered(one: object) -> bool:
    if isinstance(one, _CLOSED):
        return False
    if isinstance(one, types.FunctionType):
        return (one.__module__ or "").partition(".")[0] in (*OURS, "functools", "contextlib")
    return type(one).__module__.partition(".")[0] in {*OURS, *CONTAINERS, *RUNNING}


def _inner(one: Any) -> Iterable[object]:
    if isinstance(one, types.FunctionType):  # its referents would lead to all globals of its module
        return [one.__closure__, one.__defaults__, one.__kwdefaults__]
    if isinstance(one, weakref.ref):
        return [one()]
    if isinstance(one, dict) and "__builtins__" in one:
        return []
    return gc.get_referents(one)
