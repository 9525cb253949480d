"""Shard claims: which shards this process connects, and when it takes over those of another one.

A process serves a shard once it holds its lock in the database (:mod:`storage.database.shard_locks`). The
lock of a process that ends is free within seconds, and within half a minute if its host is gone. A process
with fixed shards takes each as soon as it is free, so a second one with the same shards waits behind the
first. A **spare** takes any shard that stays free although a process has served it. Shards that were never
served are left to their own processes for a while, so that the order of starts does not matter.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from storage.coordination import Coordination
from storage.errors import StorageError
from storage.records import Shard

log = logging.getLogger(__name__)
status = logging.getLogger("bot.status")  # shown at the default level, see bot/app/logs.py

POLL_S = 2.0
"""Seconds between two looks."""
FREE_S = 10.0
"""Seconds after which a spare takes a shard whose process ended; a quick restart is not disturbed."""
START_S = 60.0
"""The same for a shard that the spare has not seen served since it could see the locks."""
SURE_S, SURE_EVERY_S = 30.0, 0.5
"""Longest look at the locks before a shard connects again, and seconds between two looks."""


class ShardClaims:
    """Takes the shards of this process when they are free.

    Args:
        coordination: Shows what other processes serve.
        wanted: The shards that this process may serve.
        spare: Whether it leaves them to other processes as long as those live.
        clock: Seconds, monotonic.
        sleep: Waits so many seconds.

    Attributes:
        waited: Whether a look found shards that had to be left to other processes.
    """

    def __init__(
        self,
        coordination: Coordination,
        wanted: Collection[Shard],
        *,
        spare: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._coordination, self._wanted, self._spare = coordination, set(wanted), spare
        self._clock, self._sleep = clock, sleep
        self._mine: set[Shard] = set()
        self._free_since: dict[Shard, float] = {}
        self._seen: set[Shard] = set()
        self._n_losses = coordination.n_losses
        self._told = False
        self.waited = False

    @property
    def waiting(self) -> set[Shard]:
        """The shards that this process wants and does not serve."""
        return self._wanted - self._mine

    async def keeps(self, shard_id: int) -> bool:
        """Return whether this process still serves a shard, before it connects the shard again.

        A lost network cuts off Discord and the database alike, and another process may have taken the shard
        meanwhile. So wait until the locks can be seen, without a limit: a process without the database stores
        no reply and no consent, so a second one on the shard would serve members worse than none.
        """
        shards, told = self._coordination.shards, False
        while True:
            with suppress(StorageError, TimeoutError):
                async with asyncio.timeout(SURE_S):
                    if await shards.served() is not None:
                        return any(shards.serves(one) for one in self._mine if one.id == shard_id)
            if not told:
                told = True
                log.warning("shard %d waits for the database before it connects again", shard_id)
            await self._sleep(SURE_EVERY_S)

    async def keeps_until(self, turn: Callable[[], Awaitable[object]], shard_id: int) -> bool:
        """Wait for the turn of a shard to begin a session; return whether this process still serves it then.

        A turn may come after hours. If the locks were lost meanwhile, the shard asks for another turn: this
        one may be over until the locks can be seen.
        """
        while await self.keeps(shard_id):
            n_losses = self._coordination.n_losses
            await turn()
            if n_losses == self._coordination.n_losses:
                return True
        return False

    async def run(self, on_won: Callable[[Shard], None], on_lost: Callable[[Shard], None]) -> None:
        """Look again and again, until cancelled.

        Args:
            on_won: Called when this process serves a shard from now on.
            on_lost: Called when another process took a shard while the database could not be reached.
        """
        while True:
            try:
                await self._look(on_won, on_lost)
            except StorageError as exc:
                log.warning("the shards of other processes cannot be seen (%s)", type(exc).__name__)
            await self._sleep(POLL_S)

    async def _look(self, on_won: Callable[[Shard], None], on_lost: Callable[[Shard], None]) -> None:
        shards = self._coordination.shards
        if self._mine:
            await shards.settle()
        for lost in [one for one in self._mine if not shards.serves(one)]:
            log.warning("shard %d of %d is served by another process from now on", lost.id, lost.count)
            self._mine.discard(lost)
            on_lost(lost)
        served = await shards.served() if self.waiting else set[Shard]()
        if served is None:
            return
        self._note(served)
        for shard in sorted(self.waiting - served, key=lambda one: one.id):
            if self._is_due(shard) and await shards.serve(shard):
                self._mine.add(shard)
                on_won(shard)
        self._tell(served)

    def _note(self, served: set[Shard]) -> None:
        """Note which shards are free, and since when."""
        if self._n_losses != self._coordination.n_losses:  # the others may have lost their locks as well
            self._n_losses = self._coordination.n_losses
            self._free_since.clear()
            self._seen.clear()
        now = self._clock()
        self._seen |= served
        for shard in self.waiting:
            if shard in served:
                self._free_since.pop(shard, None)
            else:
                self._free_since.setdefault(shard, now)

    def _is_due(self, shard: Shard) -> bool:
        if not self._spare:
            return True
        return self._clock() - self._free_since[shard] >= (FREE_S if shard in self._seen else START_S)

    def _tell(self, served: set[Shard]) -> None:
        """Say once what this process waits for, and that the processes do not fit together."""
        self.waited = self.waited or bool(self.waiting)
        if self._told or not (self.waiting or served):
            return
        self._told = True
        if self.waiting:
            ids = ", ".join(str(one.id) for one in sorted(self.waiting, key=lambda one: one.id))
            why = "spare: takes over from a process that ends" if self._spare else "served by another process"
            status.info("waiting for shard %s (%s)", ids, why)
        counts = {one.count for one in served} - {one.count for one in self._wanted}
        if counts:
            log.warning(
                "other processes have shard_count = %s: the same in all processes is expected; servers are"
                " answered once meanwhile",
                ", ".join(map(str, sorted(counts))),
            )
