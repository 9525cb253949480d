"""Discord's limits: requests of one route, all requests of the bot, and new sessions.

The figures are those of Discord's documentation and of its answers; tests may lower or raise each.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import md5

_MAJOR = re.compile(r"^/(?:channels|guilds)/\d+|^/webhooks/\d+/[^/]+")
_ID = re.compile(r"/\d{6,}(?=/|$)")
_REACTION = re.compile(r"/reactions/[^/]+")
UNBOUND = re.compile(r"^/(interactions|webhooks)/")
"""Paths that carry their own token: they need no bot token and the global limit does not count them."""


@dataclass(frozen=True)
class Rate:
    """At most ``n`` requests in ``per_s`` seconds."""

    n: int
    per_s: float


ROUTES: Mapping[str, Rate] = {
    "POST /channels/{}/messages": Rate(5, 5.0),
    "PATCH /channels/{}/messages/{}": Rate(5, 5.0),
    "DELETE /channels/{}/messages/{}": Rate(5, 1.0),
    "POST /channels/{}/typing": Rate(5, 5.0),
    "PUT /channels/{}/messages/{}/reactions/{}/@me": Rate(1, 0.25),
    "DELETE /channels/{}/messages/{}/reactions/{}/@me": Rate(1, 0.25),
    "POST /webhooks/{}/{}": Rate(5, 2.0),
}
"""Route -> its limit for each channel, server or webhook."""


@dataclass
class _Window:
    """A count of requests that starts again at ``resets_at``."""

    resets_at: float = 0.0
    n: int = 0

    def take(self, rate: Rate, now: float) -> bool:
        """Count a request; return whether it is within the limit."""
        if now >= self.resets_at:
            self.resets_at, self.n = now + rate.per_s, 0
        self.n += 1
        return self.n <= rate.n


@dataclass(frozen=True)
class Verdict:
    """What the limits say about one request.

    Attributes:
        headers: Headers of its answer.
        retry_after_s: None: the request is allowed; else it is answered with 429.
        everywhere: Whether the global limit refused it.
    """

    headers: dict[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    everywhere: bool = False


@dataclass
class Limits:
    """The limits of requests.

    Attributes:
        routes: Route -> limit; a route without one is bound by the global limit alone.
        all_requests: The global limit.
        counted: Route -> its requests.
        refused: Scope ("user" or "global") -> requests that were answered with 429.
        steady: Returns seconds that only grow.
    """

    routes: Mapping[str, Rate] = field(default_factory=lambda: ROUTES)
    all_requests: Rate = Rate(50, 1.0)
    counted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    steady: Callable[[], float] = time.monotonic
    _windows: dict[str, _Window] = field(default_factory=dict)
    _all: _Window = field(default_factory=_Window)

    def take(self, method: str, path: str) -> Verdict:
        """Count a request, and judge it."""
        route, now = route_of(method, path), self.steady()
        self.counted[route] += 1
        if not UNBOUND.match(path) and not self._all.take(self.all_requests, now):
            self.refused["global"] += 1
            return refusal(self._all.resets_at - now, everywhere=True)
        rate = self.routes.get(route)
        if rate is None:
            return Verdict()
        major = _MAJOR.match(path)
        window = self._windows.setdefault(f"{route} {major and major[0]}", _Window())
        allowed = window.take(rate, now)
        left_s = window.resets_at - now
        headers = {
            "X-RateLimit-Limit": str(rate.n),
            "X-RateLimit-Remaining": str(max(0, rate.n - window.n)),
            "X-RateLimit-Reset": f"{time.time() + left_s:.3f}",
            "X-RateLimit-Reset-After": f"{left_s:.3f}",
            "X-RateLimit-Bucket": md5(route.encode(), usedforsecurity=False).hexdigest(),
        }
        if allowed:
            return Verdict(headers)
        self.refused["user"] += 1
        return refusal(left_s, headers)


def refusal(
    retry_after_s: float, headers: Mapping[str, str] | None = None, *, everywhere: bool = False
) -> Verdict:
    """Return the verdict of a request that came too early."""
    scope = {"X-RateLimit-Scope": "global" if everywhere else "user"}
    more = {"Retry-After": f"{retry_after_s:.3f}", "Via": "1.1 google"}  # discord.py takes others for a ban
    if everywhere:
        more["X-RateLimit-Global"] = "true"
    return Verdict({**(headers or {}), **scope, **more}, retry_after_s, everywhere)


def route_of(method: str, path: str) -> str:
    """Return method and path without ids, emoji and tokens."""
    path = re.sub(r"^/(webhooks|interactions)/\d+/[^/]+", r"/\1/{}/{}", path)
    return f"{method} {_ID.sub('/{}', _REACTION.sub('/reactions/{}', path))}"


@dataclass
class IdentifyBudget:
    """Discord's limits of new sessions: so many a day, and one for each bucket of shards in five seconds.

    Attributes:
        max_concurrency: Buckets; the bucket of a shard is its id modulo this number.
        interval_s: Seconds between two sessions of a bucket.
        total: IDENTIFY calls in a day. At the next call Discord resets the token.
        n_used: IDENTIFY calls so far; refused ones count, too.
        n_too_soon: Calls that came before their bucket was free.
        started: (seconds, shard) of each session.
        steady: Returns seconds that only grow.
    """

    max_concurrency: int = 1
    interval_s: float = 5.0
    total: int = 1000
    n_used: int = 0
    n_too_soon: int = 0
    started: list[tuple[float, int]] = field(default_factory=list)
    steady: Callable[[], float] = time.monotonic
    _free_at: dict[int, float] = field(default_factory=dict)

    @property
    def spent(self) -> bool:
        """Whether a further call resets the token."""
        return self.n_used >= self.total

    def take(self, shard_id: int) -> bool:
        """Count an IDENTIFY call; return whether the session may start."""
        self.n_used += 1
        bucket, now = shard_id % self.max_concurrency, self.steady()
        if now < self._free_at.get(bucket, 0.0):
            self.n_too_soon += 1
            return False
        self._free_at[bucket] = now + self.interval_s
        self.started.append((now, shard_id))
        return True

    def as_shown(self) -> dict[str, int]:
        """Return ``session_start_limit`` of ``GET /gateway/bot``."""
        return {
            "total": self.total,
            "remaining": max(0, self.total - self.n_used),
            "reset_after": 86_400_000,
            "max_concurrency": self.max_concurrency,
        }
