"""Identify budget: when a shard may open a session, over all processes and starts of the bot.

Discord allows one IDENTIFY in five seconds for each of ``max_concurrency`` buckets, and about a thousand a
day; a bot that uses them up loses its token. Every IDENTIFY is claimed in the database first, so processes
take turns. Discord's own counter says how many are left. Below half of them, claims are spread over the rest
of the day, so a crash loop cannot use them up.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import discord

from bot.proxies import Proxy, client_options
from storage.errors import StorageError
from storage.identifies import Identifies

log = logging.getLogger(__name__)

APART_S = 5.5
"""Seconds between two sessions of one bucket; Discord asks for five."""
_TIMEOUT_S = 20.0
_TOLD_FROM_S = 60.0
_DAY_S = 86_400.0
"""Seconds that an answer counts for if Discord has no reset ahead, because no session was used."""


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Discord's answer about the gateway.

    Attributes:
        shards: Number of shards that Discord recommends.
        total: Sessions in a day.
        remaining: Sessions that are left.
        reset_s: Seconds until there are ``total`` again.
        concurrency: Number of buckets.
    """

    shards: int = 1
    total: int = 1000
    remaining: int = 1000
    reset_s: float = 0.0
    concurrency: int = 1

    @property
    def apart_s(self) -> float:
        """Seconds between two sessions of any buckets; 0 while at least half of them are left."""
        if self.remaining >= self.total / 2:
            return 0.0
        return self.reset_s / max(1, self.remaining)


async def limits_of(client: discord.Client) -> GatewayLimits | None:
    """Ask Discord for the limits of a client that is logged in; None: it does not answer."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            shards, _, limit = await client.http.get_bot_gateway()
        return GatewayLimits(
            shards=shards,
            total=limit["total"],
            remaining=limit["remaining"],
            reset_s=limit["reset_after"] / 1000,
            concurrency=max(1, limit["max_concurrency"]),
        )
    except (discord.DiscordException, aiohttp.ClientError, OSError, KeyError) as exc:
        log.info("Discord does not tell the limits of the gateway (%s)", type(exc).__name__)
        return None


async def recommended_shards(token: str, proxy: Proxy | None) -> int:
    """Return the number of shards that Discord recommends; 1 if it cannot be asked, or refuses the token."""
    client = discord.Client(intents=discord.Intents.none(), **client_options(proxy))
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await client.login(token)
        return (await limits_of(client) or GatewayLimits()).shards
    except (discord.DiscordException, aiohttp.ClientError, OSError, AttributeError, TypeError) as exc:
        # A page in place of Discord makes discord.py fail in odd ways; the real login explains it.
        log.info("Discord does not tell how many shards it recommends (%s)", type(exc).__name__)
        return 1
    finally:
        await client.close()


class IdentifyBudget:
    """Waits until a shard may identify.

    Args:
        claims: Claims of all processes.
        ask: Returns Discord's limits now; None: it does not answer.
        sleep: Waits so many seconds.
        clock: Seconds, monotonic.

    Attributes:
        n_claimed: Sessions that this process claimed.
    """

    def __init__(
        self,
        claims: Identifies,
        ask: Callable[[], Awaitable[GatewayLimits | None]],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claims, self._ask, self._sleep, self._clock = claims, ask, sleep, clock
        self._latest: GatewayLimits | None = None
        self._latest_at = 0.0
        self.n_claimed = 0

    @property
    def limits(self) -> GatewayLimits | None:
        """Discord's latest answer; None: there is none, or its counter was reset since."""
        latest = self._latest
        if latest is None or self._clock() - self._latest_at >= (latest.reset_s or _DAY_S):
            return None
        return latest

    @property
    def left(self) -> float:
        """Number of sessions that were left at Discord's latest answer; NaN: unknown. No I/O."""
        return math.nan if self.limits is None else self.limits.remaining

    async def look(self) -> None:
        """Ask Discord for the limits, because other processes and starts use up sessions as well."""
        if (found := await self._ask()) is not None:
            self._latest, self._latest_at = found, self._clock()

    async def wait(self, shard_id: int) -> None:
        """Return when this shard may identify; the session is then counted.

        Without the database no session begins: another process might begin one at the same time.
        """
        told = False
        while True:
            await self.look()
            limits = self.limits or GatewayLimits()
            try:
                wait_s = max(APART_S, limits.reset_s)
                if limits.remaining > 0:
                    wait_s = await self._claims.claim(
                        shard_id % limits.concurrency, apart_s=APART_S, all_apart_s=limits.apart_s
                    )
            except StorageError as exc:
                log.warning("shard %d waits for the database before it connects: %s", shard_id, exc)
                wait_s = APART_S
            if wait_s <= 0:
                self.n_claimed += 1
                return
            if wait_s > _TOLD_FROM_S and not told:
                told = True
                log.warning(
                    "shard %d waits %.0f s before it connects: %d of %d sessions of this day are left",
                    shard_id,
                    wait_s,
                    limits.remaining,
                    limits.total,
                )
            await self._sleep(wait_s)
