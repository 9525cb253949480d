"""One run: a small Discord, a PostgreSQL, processes of the bot, members who ask and react, and kills."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from bot.config import load_settings
from storage.database.schema import messages, replies
from storage.store import Store
from tests.rig.discord_server import DiscordServer, IdentifyBudget, Limits, Rate, discord_server
from tests.rig.postgres import PostgresServer
from tests.rig.scale.city import LOOK_S, City
from tests.rig.scale.fleet import RESTART_S, Fleet, Seat, postgres_processes
from tests.rig.scale.fleet import processor_s as processor_s_of
from tests.rig.scale.journal import Dark, read_generations
from tests.rig.scale.outcome import Outcome, judge, percentiles
from tests.rig.scale.process import Start
from tests.rig.soak_model import Given
from tests.rig.standing import standing_in, stored_key

PATIENCE_S = 90.0
"""Age from which a prompt counts as passed over: its server may ask again."""


@dataclass(frozen=True)
class Size:
    """What is run.

    Attributes:
        servers: Servers.
        members: Members in all of them.
        agreed: Members who agree before the run.
        processes: Processes that serve shards.
        spares: Processes that wait to take over.
        shards: Shards in all.
        a_second: Prompts a second on average.
        seconds: Length of the run.
        kill_every_s: Seconds between two kills; 0: none.
        generation_s: Seconds of a generation.
        encoder: As for :mod:`tests.rig.scale.process`.
        concurrency: Discord's ``max_concurrency``.
        requests_a_second: Discord's global limit.
        seed: Draws who does what.
    """

    servers: int = 10_000
    members: int = 100_000
    agreed: int = 200
    processes: int = 8
    spares: int = 1
    shards: int = 16
    a_second: float = 4.0
    seconds: float = 600.0
    kill_every_s: float = 30.0
    generation_s: float = 0.5
    encoder: str = "none"
    concurrency: int = 1
    requests_a_second: int = 50
    seed: int = 0


@dataclass
class Simulation:
    """A run under way.

    Attributes:
        darks: Times in which a shard had no connection.
        n_kills: Processes that were killed.
        agreed: Members who agreed, and those whose consent is stored.
        idle: Share of a core that a process uses when nobody asks, if it was measured.
    """

    size: Size
    server: DiscordServer
    postgres: PostgresServer
    database: str
    city: City
    fleet: Fleet
    config: Path
    journal: Path
    rng: random.Random
    darks: list[Dark] = field(default_factory=list)
    n_kills: int = 0
    agreed: dict[str, int] = field(default_factory=dict)
    idle: float = 0.0
    _dark_since: dict[int, float] = field(default_factory=dict)
    _late_s: list[float] = field(default_factory=list)

    async def run(self) -> Outcome:
        """Run everything, and judge it."""
        await self.connect()
        await self.members_agree()
        before = self.processor_s()
        self.server.limits.counted.clear()
        took_s = await self.live()
        after = self.processor_s()
        machine = {
            "seconds": round(took_s, 1),
            "processor_s": {name: round(after[name] - before[name], 1) for name in after},
            "cores": os.cpu_count(),
            "load": [round(one, 1) for one in os.getloadavg()],
            "memory_mib": [round(one) for one in self.fleet.memory_mib()],
            "discord_late_ms_p99": percentiles(self._late_s).get("p99"),
            "requests": dict(self.server.limits.counted),
        }
        await asyncio.sleep(2.0)
        outlived = self.fleet.outlived()
        exits = await self.fleet.stop()
        return await self._judged(machine, exits, len(outlived))

    async def connect(self) -> None:
        """Start all processes, and wait until every shard is connected."""
        size, began = self.size, time.monotonic()
        self.fleet.seats = [Seat(f"{one}/{size.processes}") for one in range(size.processes)]
        self.fleet.seats += [Seat("spare") for _ in range(size.spares)]
        for seat in self.fleet.seats:
            self.fleet.start(seat)
        await until(lambda: len(self.city.served()) == size.shards, at_most_s=300 + 30 * size.shards)
        say(f"{size.shards} shards are connected after {time.monotonic() - began:.0f} s")

    async def _judged(self, machine: dict[str, Any], exits: list[int | None], orphans: int) -> Outcome:
        """Judge the run, once the processes have ended."""
        asked = list(self.city.asked.values())
        n_unknown = read_generations(self.journal, asked)
        prompts, good = judge(asked, self.darks, n_unknown)
        late = [one.took_s for one in asked if one.replies and one not in good]
        labels, rows = await self._compare()
        budget = self.server.budget
        return Outcome(
            size=asdict(self.size),
            prompts=prompts,
            overhead_ms=percentiles([one.overhead_s for one in good]),
            made_up_s={name: round(ms / 1000, 1) for name, ms in percentiles(late).items()},
            kills=self.n_kills,
            dark_s=[round(dark.took_s, 1) for dark in self.darks],
            sessions={
                "begun": len(budget.started),
                "identifies": budget.n_used,
                "too_soon": budget.n_too_soon,
                "tokens_lost": self.server.n_resets,
                "resumed": self.server.gateway.counted["resumed"],
            },
            refused=dict(self.server.limits.refused),
            labels=labels,
            rows=rows,
            agreed=self.agreed | {"unanswered": self.city.n_failed},
            machine=machine,
            exits=exits,
            orphans=orphans,
        )

    async def members_agree(self) -> None:
        """Let the members agree, and wait until their consents are stored."""
        await asyncio.sleep(3.0)  # discord.py hands on commands from two seconds after the last server
        await self.city.agree(self.size.agreed)
        connection = await self.postgres.connect(self.database)
        query = "SELECT count(*) FROM members WHERE standing = 'agreed'"
        wanted = len(self.city.agreed)
        with suppress(TimeoutError):  # the labels of a member whose consent was lost are missing in the end
            async with asyncio.timeout(180):
                while await connection.fetchval(query) < wanted:
                    await asyncio.sleep(0.2)
        self.agreed = {"said": wanted, "stored": await connection.fetchval(query)}
        await connection.close()
        say(f"members agreed: {self.agreed}, {self.city.n_failed} interactions were not answered")

    # ------------------------------------------------------------ the run

    async def live(self) -> float:
        """Let members ask and react while processes are killed; return the seconds that it took."""
        began = time.monotonic()
        helpers = [asyncio.create_task(one) for one in (self._watch(), self._tell(began))]
        if self.size.kill_every_s:
            helpers.append(asyncio.create_task(self._kill()))
        while (now := time.monotonic()) < began + self.size.seconds:
            await self.city.ask(patience_s=PATIENCE_S)
            if self.rng.random() < 0.5:
                self.city.react()
            await asyncio.sleep(self.rng.expovariate(self.size.a_second) - (time.monotonic() - now))
            for helper in helpers:
                if helper.done():
                    helper.result()
        took_s = time.monotonic() - began
        for helper in helpers[2:]:
            helper.cancel()
        await self._settle()
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        now = time.monotonic()
        self.darks += [Dark(shard_id, since_s, now) for shard_id, since_s in self._dark_since.items()]
        return took_s

    async def _settle(self) -> None:
        """Wait until all shards are served, prompts are answered or passed over, and labels are written."""
        with suppress(TimeoutError):  # the verdict says what is not served
            await until(lambda: len(self.city.served()) == self.size.shards, at_most_s=180)
            await until(lambda: not self.city.waiting(), at_most_s=PATIENCE_S if self.n_kills else 20)
        await asyncio.sleep(15.0 if self.n_kills else 2.0)  # the quick look reads back five messages a second

    async def _kill(self) -> None:
        """Kill a random process every so often, and start it again."""
        while True:
            await asyncio.sleep(self.size.kill_every_s)
            seat = self.rng.choice(self.fleet.seats)
            say(f"kill -9 of the process with shards {seat.ids}")
            await self.fleet.kill(seat)
            self.n_kills += 1
            await asyncio.sleep(RESTART_S)
            self.fleet.start(seat)

    async def _watch(self) -> None:
        """Note when shards have no connection; end sessions that nobody resumes, as Discord does."""
        gateway = self.server.gateway
        while True:
            now, served = time.monotonic(), self.city.served()
            for shard_id in range(self.size.shards):
                if shard_id not in served:
                    self._dark_since.setdefault(shard_id, now)
                elif shard_id in self._dark_since:
                    self.darks.append(Dark(shard_id, self._dark_since.pop(shard_id) - LOOK_S, now))
            for session_id, session in list(gateway.sessions.items()):
                if session.connection is None and session.shard_id in served:
                    del gateway.sessions[session_id]
            for seat in self.fleet.seats:
                if seat.process is not None and seat.process.exitcode not in (None, -signal.SIGKILL):
                    raise RuntimeError(f"the process {seat.ids} ended with {seat.process.exitcode}")
            await asyncio.sleep(LOOK_S)
            self._late_s.append(time.monotonic() - now - LOOK_S)

    async def _tell(self, began: float) -> None:
        """Print a line every ten seconds."""
        while True:
            await asyncio.sleep(10.0)
            asked = list(self.city.asked.values())
            recent = [one for one in asked if one.sent_s > time.monotonic() - 15]
            n_answered = sum(bool(one.replies) for one in asked)
            took = percentiles([one.took_s for one in recent if one.replies])
            say(
                f"{time.monotonic() - began:.0f} s: {len(asked)} prompts, {n_answered} answered,"
                f" {self.n_kills} kills, {len(self._dark_since)} shards dark, generation and reply {took}"
            )

    # ------------------------------------------------------------ the verdict

    def processor_s(self) -> dict[str, float]:
        database = sum(
            processor_s_of(pid) for pid in postgres_processes(self.postgres.url("").partition("=")[2])
        )
        return {"bot": self.fleet.cpu_s(), "database": database, "discord and members": time.process_time()}

    async def written(self) -> dict[str, int]:
        """Return what the database wrote so far: transactions and bytes of its log."""
        connection = await self.postgres.connect(self.database)
        await connection.execute("SELECT pg_stat_force_next_flush()")
        query = "SELECT xact_commit FROM pg_stat_database WHERE datname = $1"
        found = {
            "commits": await connection.fetchval(query, self.database),
            "log_bytes": int(await connection.fetchval("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")),
        }
        await connection.close()
        return found

    async def _compare(self) -> tuple[dict[str, int], dict[str, int]]:
        """Compare the labels in the database with the reactions that Discord shows."""
        async with await Store.open(load_settings(self.config).storage) as store:
            stored: set[Given] = set()
            ids: dict[int, list[int]] = {}
            for message_id, channel_id in self.city.replied.items():
                ids.setdefault(channel_id, []).append(message_id)
            for channel_id, here in ids.items():
                who = self.city.homes[channel_id].who
                for message_id, found in (await standing_in(store, who, here)).items():
                    stored |= {Given(who.user_id, message_id, emoji) for emoji, _ in found}

            def count(connection) -> tuple[int, int]:
                n_replies = select(func.count()).select_from(replies)
                n_messages = select(func.count(messages.c.reply_id.distinct())).select_from(messages)
                return connection.execute(n_replies).scalar(), connection.execute(n_messages).scalar()

            n_replies, n_messages = await store._reader.run(count)
        wanted = {one._replace(emoji=stored_key(one.emoji)) for one in self.city.given}
        labels = {"given": len(wanted), "lost": len(wanted - stored), "extra": len(stored - wanted)}
        rows = {"to_agreed": len(self.city.replied), "replies": n_replies, "messages": n_messages}
        return labels, rows


async def until(condition: Callable[[], object], *, at_most_s: float) -> None:
    """Look every now and then whether a condition holds; a look every millisecond would cost a run's cores.

    Raises:
        TimeoutError: The condition did not hold in time.
    """
    async with asyncio.timeout(at_most_s):
        while not condition():
            await asyncio.sleep(LOOK_S)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


@asynccontextmanager
async def simulation(size: Size, postgres: PostgresServer, folder: Path) -> AsyncIterator[Simulation]:
    """Build servers, members and a database; the processes start with :meth:`Simulation.run`.

    Args:
        size: What is run.
        postgres: The database server.
        folder: Working folder.
    """
    rng = random.Random(size.seed)
    database = await postgres.fresh()
    config, journal = folder / "config.toml", folder / "journal.txt"
    config.write_text(
        f'[storage]\nurl = "{postgres.url(database)}"\ndata_dir = "{folder / "data"}"\n'
        f'key_dir = "{folder / "keys"}"\n[generator]\nkind = "openai"\nmodel = "scripted"\nat_once = 64\n'
    )
    budget = IdentifyBudget(max_concurrency=size.concurrency)
    limits = Limits(all_requests=Rate(size.requests_a_second, 1.0))
    async with discord_server(shards=size.shards, budget=budget, limits=limits) as server:
        city = City(server, size.shards, rng)
        began = time.monotonic()
        city.build(size.servers, size.members)
        say(f"{size.servers} servers, {size.members} members: {time.monotonic() - began:.1f} s")
        log = folder / "log.txt"
        start = Start(server.url, config, journal, log, size.generation_s, size.encoder)
        fleet = Fleet(start, server.token, size.shards)
        try:
            yield Simulation(size, server, postgres, database, city, fleet, config, journal, rng)
        finally:
            fleet.end()
