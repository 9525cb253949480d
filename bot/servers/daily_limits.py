"""Daily limits: messages and tokens that the bot spends on each member and each server.

Counted in memory only, under keyed hashes of members and servers, because nothing about a member may be
stored before they agree. All processes on one PostgreSQL database count together (:mod:`storage.tallies`);
the counts end when the last process ends. A forget does not end them, because it would be a way around the
limit; the hash cannot be turned back into a Discord id. A day begins with its first message and lasts 24
hours by the steady clock, so a jump of the host clock neither ends nor stretches it. No discord import.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.settings import DailyLimit, LimitSettings
from storage.clock import steady_of
from storage.records import DIRECT_MESSAGES, Who
from storage.store import Store
from storage.tallies import MOST_COUNTED, Tallies, Tally

DAY = timedelta(days=1)
_DAY_S = DAY.total_seconds()
_KIND = "day"


@dataclass(frozen=True, slots=True)
class Standing:
    """Remaining limits of a day.

    Attributes:
        limit: Limit of the whole day; 0: no limit.
        messages: Messages left; None: no limit.
        tokens: Tokens left, never below 0; None: no limit.
        back_at: End of the day, when the count is reset, aware UTC; None when no day has begun.
    """

    limit: DailyLimit
    messages: int | None
    tokens: int | None
    back_at: datetime | None

    @property
    def used_up(self) -> bool:
        """Whether no messages or no tokens are left."""
        return self.messages == 0 or self.tokens == 0


class UsedUp(Exception):
    """The day of a member or of their server is used up.

    Args:
        standing: The limit that is reached.
        of_server: Whether it is the server's limit.
    """

    def __init__(self, standing: Standing, *, of_server: bool) -> None:
        super().__init__("the daily limit is used up")
        self.standing, self.of_server = standing, of_server


def limit_of_member(settings: Sequence[LimitSettings], roles: Collection[int]) -> DailyLimit:
    """Return the limit of one member: the tightest of all settings, each with its most generous role.

    Args:
        settings: Settings of the operator and of the server.
        roles: Ids of the member's roles.
    """
    parts = []
    for one in settings:
        given = [DailyLimit(one.member_messages, one.member_tokens)]
        given += [limit for role, limit in one.roles.items() if int(role) in roles]
        parts.append(DailyLimit(_most([g.messages for g in given]), _most([g.tokens for g in given])))
    return _tightest(parts)


def limit_of_server(settings: Sequence[LimitSettings]) -> DailyLimit:
    """Return the limit of a whole server, the tightest of all settings."""
    return _tightest([DailyLimit(one.server_messages, one.server_tokens) for one in settings])


def _most(limits: Sequence[int]) -> int:
    """Return the widest limit; 0 means no limit and is the widest."""
    return 0 if 0 in limits else max(limits)


def _tightest(parts: Sequence[DailyLimit]) -> DailyLimit:
    def least(limits: list[int]) -> int:
        return min((limit for limit in limits if limit), default=0)

    return DailyLimit(least([part.messages for part in parts]), least([part.tokens for part in parts]))


class Limits:
    """Counts what members and servers used of their day.

    Args:
        store: Computes the keyed hashes; nothing is stored.
        now: The clock, aware UTC; tells members when the day ends. Its steady clock measures the day.
        size: Members and servers counted at once, without ``tallies``; the day that began first is evicted.
        tallies: Hold the counts, together with the other processes; None: this process counts alone.
    """

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        size: int = MOST_COUNTED,
        *,
        tallies: Tallies | None = None,
    ) -> None:
        self._store = store
        self._now, self._steady_s = now, steady_of(now)
        if tallies is None:
            tallies = Tallies(lambda _, subject: subject, self._steady_s, size=size)
        self._tallies = tallies

    def __len__(self) -> int:
        """Number of members and servers that are counted."""
        return len(self._tallies)

    def of_member(self, who: Who, settings: Sequence[LimitSettings], roles: Collection[int]) -> Standing:
        """Return the remaining limits of a member here."""
        return self._standing(self._store.member_id(who), limit_of_member(settings, roles))

    def of_server(self, who: Who, settings: Sequence[LimitSettings]) -> Standing:
        """Return the remaining limits of the member's server; direct messages have no limit."""
        direct = who.guild_id == DIRECT_MESSAGES
        limit = DailyLimit() if direct else limit_of_server(settings)
        return self._standing(self._store.guild_id(who), limit)

    def used_up(self, who: Who, settings: Sequence[LimitSettings], roles: Collection[int]) -> UsedUp | None:
        """Return the limit that is used up, the member's before the server's; None: both have some left."""
        own, everybody = self.of_member(who, settings, roles), self.of_server(who, settings)
        if own.used_up:
            return UsedUp(own, of_server=False)
        return UsedUp(everybody, of_server=True) if everybody.used_up else None

    def spend(self, who: Who, *, messages: int = 0, tokens: int = 0) -> None:
        """Count what a member used, for them and for their server; negative numbers give back."""
        for key in (self._store.member_id(who), self._store.guild_id(who)):
            self._tallies.add(_KIND, key, _DAY_S, messages=messages, tokens=tokens)

    def _standing(self, key: bytes, limit: DailyLimit) -> Standing:
        day = self._tallies.of(_KIND, key)
        used = day or Tally(self._steady_s(), _DAY_S)
        return Standing(
            limit,
            max(0, limit.messages - used.messages) if limit.messages else None,
            max(0, limit.tokens - used.tokens) if limit.tokens else None,
            None if day is None else self._now() + DAY - timedelta(seconds=self._steady_s() - day.began_s),
        )
