"""Registry of everything in memory that holds data of members, so that forgetting reaches all of it.

A cache, queue or map with data of members implements :class:`Forgets` and is registered once, where it is
created. Every way to leave walks this one registry: ``/forget-me`` and withdrawals in this process, news that
a member left in another process, servers that the bot left, and ``simpatico forget ID``, which reaches a
running bot as news. ``tests/conformance/test_member_memory.py`` fails when an object with data of members is
not registered. A leaf: imports only the records of storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from storage.records import MemberId, Who


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """Describes whose data must leave memory. Made by :class:`MemberMemory`.

    Attributes:
        pseudonym_of: Computes the pseudonym of a member; no I/O.
        user_id: Discord id of the person who leaves; None when it is not known.
        guild_id: The server that they leave; None for every server.
        member_ids: Pseudonyms of the members that were erased from the store. A member who never agreed is
            not among them, because the store holds nothing of that member.
        everyone: Whether it may be any member, because news from another process contain no names.
        servers: Whether data of whole servers may be affected, so that caches of a server's own data are
            dropped, too.
    """

    pseudonym_of: Callable[[Who], MemberId] = field(repr=False, compare=False)
    user_id: int | None = None
    guild_id: int | None = None
    member_ids: frozenset[MemberId] = frozenset()
    everyone: bool = False
    servers: bool = False

    @property
    def person(self) -> int | None:
        """Discord id of a person who leaves every server; None otherwise."""
        return self.user_id if self.guild_id is None else None

    @property
    def taught(self) -> bool:
        """Whether data learnt from members must be dropped as well."""
        return self.everyone or bool(self.member_ids)

    def includes(self, who: Who) -> bool:
        """Return whether the data of this member must be dropped."""
        if self.everyone:
            return True
        if self.user_id is not None:
            return who.user_id == self.user_id and self.guild_id in (None, who.guild_id)
        return bool(self.member_ids) and self.pseudonym_of(who) in self.member_ids


class Forgets(Protocol):
    """Anything in memory that can drop the data of members."""

    def forget(self, leaving: Leaving) -> None:
        """Drop all data of the members that leave, immediately and without I/O.

        With ``leaving.everyone`` a cache drops all entries. Work in progress (queued questions, events that
        wait for the writer) stays then. Otherwise every member would lose a question because one member left
        elsewhere. The store checks consent again before it writes.
        """
        ...


@dataclass(frozen=True, slots=True)
class Retained:
    """An object that keeps pseudonyms of members over a forget.

    Attributes:
        holder: The object.
        why: Why it may.
    """

    holder: object
    why: str


class MemberMemory:
    """The registry.

    Args:
        pseudonym_of: Computes the pseudonym of a member; no I/O.
    """

    def __init__(self, pseudonym_of: Callable[[Who], MemberId]) -> None:
        self._pseudonym_of = pseudonym_of
        self._caches: dict[str, Forgets] = {}
        self._retained: dict[str, Retained] = {}

    def __iter__(self) -> Iterator[tuple[str, Forgets]]:
        """Iterate over name and object of everything registered."""
        return iter(self._caches.items())

    @property
    def retained(self) -> dict[str, Retained]:
        """Objects that keep pseudonyms over a forget, by name."""
        return dict(self._retained)

    def register(self, name: str, cache: Forgets) -> None:
        """Register ``cache`` for every forget; replaces an object that was registered under this name.

        Args:
            name: Describes the data, for reports of tests.
            cache: The object.
        """
        self._caches[name] = cache

    def retain(self, name: str, holder: object, *, why: str) -> None:
        """Declare that ``holder`` keeps keyed pseudonyms, never Discord ids, over a forget.

        Args:
            name: Describes the data.
            holder: The object.
            why: Why forgetting must not drop it.
        """
        self._retained[name] = Retained(holder, why)

    def forget_person(self, user_id: int, member_ids: Iterable[MemberId]) -> None:
        """Drop a person's data in every server.

        Args:
            user_id: Discord user id.
            member_ids: Pseudonyms that were erased from the store.
        """
        self._forget(
            Leaving(pseudonym_of=self._pseudonym_of, user_id=user_id, member_ids=frozenset(member_ids))
        )

    def forget_member(self, who: Who, member_ids: Iterable[MemberId]) -> None:
        """Drop a member's data in one server.

        Args:
            who: The member.
            member_ids: Pseudonyms that were erased from the store.
        """
        self._forget(
            Leaving(
                pseudonym_of=self._pseudonym_of,
                user_id=who.user_id,
                guild_id=who.guild_id,
                member_ids=frozenset(member_ids),
            )
        )

    def forget_servers(self, member_ids: Iterable[MemberId]) -> None:
        """Drop the data of servers that were left, and of all their members.

        Args:
            member_ids: Pseudonyms that were erased from the store.
        """
        self._forget(Leaving(pseudonym_of=self._pseudonym_of, member_ids=frozenset(member_ids), servers=True))

    def forget_everyone(self) -> None:
        """Drop the data of all members: the news that one left in another process contain no name."""
        self._forget(Leaving(pseudonym_of=self._pseudonym_of, everyone=True, servers=True))

    def _forget(self, leaving: Leaving) -> None:
        for cache in self._caches.values():
            cache.forget(leaving)
