"""Processes with shards in any number, order and state, against one store, and a made-up Discord.

:class:`Discord` knows which servers the bot is really in. Its processes hear of them through the product's
own :class:`~bot.servers.server_lists.ServerLists`: sessions begin, break off, resume and end, lists are
sometimes cut short, and processes die or start with other numbers of shards.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from sqlalchemy import select

from bot.servers.server_lists import ServerLists
from storage.database.schema import departures, seen_servers
from storage.records import Shard, Who
from storage.store import Store

COUNTS = (1, 2, 3, 4)
MEMBER = 9
KINDS = (
    *("start", "start", "layout", "kill", "session", "session", "empty", "part", "broken"),
    *("drop", "resume", "resume", "join", "leave", "vanish", "clock"),
)


@dataclass
class Process:
    """One process of the bot: its shards, and which of them have a session."""

    count: int
    ids: list[int]
    lists: ServerLists
    connected: set[int] = field(default_factory=set)


class Discord:
    """Servers, sessions and processes; every step that a test takes is drawn from ``rng``."""

    def __init__(self, store: Store, clock, rng: random.Random) -> None:
        self.store, self.clock, self.rng = store, clock, rng
        self.here: set[int] = set()
        self.gone: set[int] = set()
        self.processes: list[Process] = []
        self.answers = 0.7
        """Share of the requests over REST that Discord answers."""
        self._numbers = 0

    # --- servers -------------------------------------------------------------------------------------------

    async def join(self) -> int:
        """The bot is invited to a server, a member agrees there, and the owner hears of it if it is up."""
        self._numbers += 1
        guild_id = (self.rng.randrange(10**6) << 22) + self._numbers
        self.here.add(guild_id)
        await self.store.consent.record(Who(guild_id, MEMBER))
        for process in self.owners(guild_id):
            await self.store.departures.record_return(guild_id, process.count)
        return guild_id

    async def leave(self, *, heard: bool) -> None:
        """The bot is removed from a server. ``heard``: the owner gets the event, if it is up."""
        if not self.here:
            return
        guild_id = self.rng.choice(sorted(self.here))
        self.here.discard(guild_id)
        self.gone.add(guild_id)
        if heard and self.owners(guild_id):
            await self.store.departures.record(guild_id)

    def owners(self, guild_id: int) -> list[Process]:
        """Return the processes whose connection gets the events of a server."""
        return [one for one in self.processes if Shard.of(guild_id, one.count).id in one.connected]

    # --- processes -----------------------------------------------------------------------------------------

    async def start(self, count: int, ids: list[int]) -> Process:
        lists = ServerLists(self.store.departures, self.store.coordination, self._over_rest)
        process = Process(count, ids, lists)
        self.processes.append(process)
        for shard_id in self.rng.sample(ids, len(ids)):
            await self.session(process, shard_id)
        return process

    async def kill(self, process: Process) -> None:
        """The process is gone; the database frees what it held."""
        self.processes.remove(process)
        for shard_id in process.ids:
            await self.store.coordination.shards.down(Shard(shard_id, process.count))

    async def session(
        self, process: Process, shard_id: int, *, cut: float = 0.0, broken: bool = False
    ) -> None:
        """A session begins. ``cut``: part of the list that is lacking; ``broken``: it ends at once."""
        self._numbers += 1
        owned = [one for one in sorted(self.here) if Shard.of(one, process.count).id == shard_id]
        told = [one for one in owned if self.rng.random() >= cut]
        process.connected.add(shard_id)
        process.lists.hear(
            {
                "shard": [shard_id, process.count],
                "session_id": f"session {self._numbers}",
                "guilds": [{"id": str(one), "unavailable": True} for one in told],
            }
        )
        if broken:
            await self.drop(process, shard_id)
        await process.lists.ready(shard_id)  # discord.py's timer does not notice the broken session

    async def drop(self, process: Process, shard_id: int) -> None:
        process.connected.discard(shard_id)
        await process.lists.down(shard_id)

    async def resume(self, process: Process, shard_id: int) -> None:
        process.connected.add(shard_id)
        await process.lists.resumed(shard_id)

    async def _over_rest(self) -> frozenset[int]:
        if self.rng.random() >= self.answers:
            raise OSError("Discord does not answer")
        return frozenset(self.here)

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
        if kind == "layout" or (process is None and kind not in ("join", "vanish", "clock")):
            return await self.change_layout(rng.choice(COUNTS))
        match kind:
            case "join":
                await self.join()
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
                await self.session(process, rng.choice(process.ids), cut=cut, broken=kind == "broken")
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
