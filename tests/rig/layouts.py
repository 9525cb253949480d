"""Processes with shards in any number, order and state, against one store, and a made-up Discord.

:class:`Discord` knows which servers the bot is really in. Its processes hear of them through the product's
own :class:`~bot.servers.server_lists.ServerLists`: sessions begin, break off, resume and end, lists are
sometimes cut short, and processes die or start with other numbers of shards. Servers are left and joined also
between READY and the moment when a shard is ready, and while Discord's other list is on its way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field

from sqlalchemy import select

from bot.servers.server_lists import ServerLists
from storage.database.schema import departures, seen_servers
from storage.errors import DatabaseFailed
from storage.records import Shard, Who
from storage.store import Store

COUNTS = (1, 2, 3, 4)
MEMBER = 9
KINDS = (
    *("start", "start", "layout", "kill", "session", "session", "empty", "part", "broken"),
    *("drop", "resume", "resume", "join", "leave", "leave", "back", "vanish", "clock"),
    *("window", "window", "window", "patience", "storage"),
)
CHANGES = ("leave", "leave", "back", "join", "drop", "resume")


@dataclass
class Process:
    """One process of the bot: its shards, and which of them have a session."""

    count: int
    ids: list[int]
    lists: ServerLists
    connected: set[int] = field(default_factory=set)
    missed: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    """Events of a session that a RESUME repeats."""

    def hear(self, shard_id: int, event: str, guild_id: int) -> None:
        """Get an event of a session, or keep it until the session is resumed."""
        if shard_id not in self.connected:
            self.missed.setdefault(shard_id, []).append((event, guild_id))
        elif event == "here":
            self.lists.hear_here({"id": str(guild_id)})
        else:
            self.lists.hear_left({"id": str(guild_id)})


class Storage:
    """The departures of a store, which sometimes cannot be recorded.

    Attributes:
        fails: The share of records that fail.
    """

    def __init__(self, store: Store, rng: random.Random) -> None:
        self._departures, self._rng, self.fails = store.departures, rng, 0.0

    def __getattr__(self, name: str):
        if self._rng.random() < self.fails:
            raise DatabaseFailed("the disk is full")
        return getattr(self._departures, name)


class Discord:
    """Servers, sessions and processes; every step that a test takes is drawn from ``rng``."""

    def __init__(self, store: Store, clock, rng: random.Random) -> None:
        self.store, self.clock, self.rng = store, clock, rng
        self.here: set[int] = set()
        self.gone: set[int] = set()
        self.heard: set[int] = set()
        """Servers whose departure was told to a process, and which the bot did not join again."""
        self.untold: set[int] = set()
        """Servers that the bot joined again while nothing could be told or recorded."""
        self.processes: list[Process] = []
        self.answers = 0.7
        """Share of the requests over REST that Discord answers."""
        self.storage = Storage(store, rng)
        self._numbers = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._n_asleep = 0
        self._patience = asyncio.Event()

    # --- time ----------------------------------------------------------------------------------------------

    async def calm(self) -> None:
        """Wait until all is recorded, or waits to be tried again."""
        while True:
            await asyncio.sleep(0.002)  # the threads of SQLite need the time
            for task in [one for one in self._tasks if one.done()]:
                self._tasks.remove(task)
                task.result()
            if self._n_asleep == len(self._tasks):
                return

    async def patience(self) -> None:
        """Let everything that failed be tried again, until it succeeds."""
        for _ in range(30):
            waited, self._patience = self._patience, asyncio.Event()
            waited.set()
            await asyncio.sleep(0)
            await self.calm()

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.ensure_future(coroutine))

    async def _sleep(self, _seconds: float) -> None:
        self._n_asleep += 1
        try:
            await self._patience.wait()
        finally:
            self._n_asleep -= 1

    async def close(self) -> None:
        """Stop all tries."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- servers -------------------------------------------------------------------------------------------

    async def join(self) -> int:
        """The bot is invited to a server, a member agrees there, and the owner hears of it if it is up."""
        self._numbers += 1
        guild_id = (self.rng.randrange(10**6) << 22) + self._numbers
        self.here.add(guild_id)
        await self.store.consent.record(Who(guild_id, MEMBER))
        self._tell("here", guild_id)
        return guild_id

    async def back(self) -> None:
        """The bot is invited again to a server that it left."""
        if self.gone:
            guild_id = self.rng.choice(sorted(self.gone))
            self.gone.discard(guild_id)
            self.heard.discard(guild_id)
            self.here.add(guild_id)
            if not self.owners(guild_id) or self.storage.fails:
                self.untold.add(guild_id)
            self._tell("here", guild_id)

    async def leave(self, *, heard: bool = True) -> None:
        """The bot is removed from a server. ``heard``: the owner gets the event, if it is up."""
        if not self.here:
            return
        guild_id = self.rng.choice(sorted(self.here))
        self.here.discard(guild_id)
        self.gone.add(guild_id)
        if heard:
            if self.owners(guild_id) and not self.storage.fails:
                self.heard.add(guild_id)
            self._tell("left", guild_id)

    def _tell(self, event: str, guild_id: int) -> None:
        for process in self.processes:
            shard_id = Shard.of(guild_id, process.count).id
            if shard_id in process.ids:
                process.hear(shard_id, event, guild_id)

    def owners(self, guild_id: int) -> list[Process]:
        """Return the processes whose connection gets the events of a server."""
        return [one for one in self.processes if Shard.of(guild_id, one.count).id in one.connected]

    # --- processes -----------------------------------------------------------------------------------------

    async def start(self, count: int, ids: list[int]) -> Process:
        lists = ServerLists(
            self.storage,  # type: ignore[arg-type]
            self.store.coordination,
            self._over_rest,
            spawn=self._spawn,
            sleep=self._sleep,
        )
        process = Process(count, ids, lists)
        self.processes.append(process)
        for shard_id in self.rng.sample(ids, len(ids)):
            await self.session(process, shard_id)
        return process

    async def kill(self, process: Process) -> None:
        """The process is gone; the database frees what it held."""
        self.processes.remove(process)
        for shard_id in process.ids:
            await process.lists.lost(shard_id)

    async def session(
        self, process: Process, shard_id: int, *, cut: float = 0.0, broken: bool = False, changes: int = 0
    ) -> None:
        """A session begins.

        Args:
            process: The process.
            shard_id: Its shard.
            cut: Part of the list that is lacking.
            broken: Whether it ends at once.
            changes: Number of changes before the shard is ready.
        """
        self._numbers += 1
        owned = [one for one in sorted(self.here) if Shard.of(one, process.count).id == shard_id]
        told = [one for one in owned if self.rng.random() >= cut]
        process.connected.add(shard_id)
        process.missed.pop(shard_id, None)
        process.lists.hear(
            {
                "shard": [shard_id, process.count],
                "session_id": f"session {self._numbers}",
                "guilds": [{"id": str(one), "unavailable": True} for one in told],
            }
        )
        if broken:
            await self.drop(process, shard_id)
        for _ in range(changes):
            await self._change(process, shard_id)
            if self.rng.random() < 0.5:
                await self.calm()
        await process.lists.ready(shard_id)  # discord.py's timer does not notice the broken session

    async def _change(self, process: Process, shard_id: int) -> None:
        match self.rng.choice(CHANGES):
            case "drop":
                await self.drop(process, shard_id)
            case "resume":
                await self.resume(process, shard_id)
            case change:
                await getattr(self, change)()

    async def drop(self, process: Process, shard_id: int) -> None:
        process.connected.discard(shard_id)
        await process.lists.down(shard_id)

    async def resume(self, process: Process, shard_id: int) -> None:
        """A session goes on: what was missed is repeated, then RESUMED comes."""
        process.connected.add(shard_id)
        for event, guild_id in process.missed.pop(shard_id, []):
            process.hear(shard_id, event, guild_id)
        await process.lists.resumed(shard_id)

    async def _over_rest(self) -> frozenset[int]:
        if self.rng.random() >= self.answers:
            raise OSError("Discord does not answer")
        answer = frozenset(self.here)
        while self.rng.random() < 0.3:  # changes while the answer is on its way
            await getattr(self, self.rng.choice(("leave", "back", "join")))()
        return answer

    # --- what is stored ------------------------------------------------------------------------------------

    async def marked(self) -> set[int]:
        """Return the servers that the store believes were left."""
        return await self._named(departures)

    async def seen(self) -> set[int]:
        """Return the servers that the store believes the bot is in."""
        return await self._named(seen_servers)

    async def _named(self, table) -> set[int]:
        known = {self.store.guild_id(Who(one, 0)): one for one in self.here | self.gone}
        rows = await self.store._reader.run(lambda c: c.execute(select(table.c.guild)).scalars().all())
        return {known[row] for row in rows}

    # --- one drawn step ------------------------------------------------------------------------------------

    async def step(self) -> str:
        """Take one step, and return what it was."""
        rng, process = self.rng, self.rng.choice(self.processes) if self.processes else None
        kind = rng.choice(KINDS)
        needless = ("join", "back", "vanish", "clock", "patience", "storage")
        if kind == "layout" or (process is None and kind not in needless):
            return await self.change_layout(rng.choice(COUNTS))
        match kind:
            case "join" | "back" | "patience":
                await getattr(self, kind)()
            case "storage":
                self.storage.fails = rng.choice((0.0, 0.0, 0.3))
            case "leave" | "vanish":
                await self.leave(heard=kind == "leave")
            case "clock":
                self.clock.advance(days=rng.choice([-4000, -1, 1, 4000]))
            case "start":  # perhaps a second process with the same or with other shards, or another number
                count = rng.choice([process.count, process.count, rng.choice(COUNTS)])
                await self.start(count, rng.sample(range(count), rng.randint(1, count)))
            case "kill":
                await self.kill(process)
            case "drop" | "resume":
                await getattr(self, kind)(process, rng.choice(process.ids))
            case _:
                cut = {"empty": 1.0, "part": 0.5}.get(kind, 0.0)
                changes = rng.randint(1, 4) if kind == "window" else 0
                shard_id = rng.choice(process.ids)
                await self.session(process, shard_id, cut=cut, broken=kind == "broken", changes=changes)
        return kind

    async def change_layout(self, count: int) -> str:
        """Stop every process, and start others with this number of shards, in any order."""
        for process in list(self.processes):
            await self.kill(process)
        shards = self.rng.sample(range(count), count)
        cut = self.rng.randint(1, count)
        for ids in filter(None, (shards[:cut], shards[cut:])):
            await self.start(count, ids)
        return f"layout of {count}"
