"""The processes of a run: starts, kills and restarts them, and reads their processor time and memory."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from bot.settings import BotSettings
from tests.rig.scale.process import Start, run

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.rig.scale.process"])
_TICKS = os.sysconf("SC_CLK_TCK")
RESTART_S = 0.5
"""Seconds before a killed process is started again, as a container runtime does."""


@dataclass
class Seat:
    """One place of the deployment, whose process is started again when it ends.

    Attributes:
        ids: Its ``SIMPATICO_SHARD_IDS``.
        process: The process; None: not started.
        cpu_s: Processor seconds of its ended processes.
    """

    ids: str
    process: ForkServerProcess | None = None
    cpu_s: float = 0.0

    @property
    def pid(self) -> int | None:
        """The process that runs; None: none does."""
        return self.process.pid if self.process is not None and self.process.exitcode is None else None


@dataclass
class Fleet:
    """All processes of the bot.

    Attributes:
        start_with: What each is started with.
        token: The bot token.
        shard_count: Shards in all processes together.
        seats: The places.
    """

    start_with: Start
    token: str
    shard_count: int
    seats: list[Seat] = field(default_factory=list)
    _groups: set[int] = field(default_factory=set)

    def start(self, seat: Seat) -> None:
        """Start the process of a seat."""
        given = {
            BotSettings().token_env: self.token,
            "SIMPATICO_SHARD_COUNT": str(self.shard_count),
            "SIMPATICO_SHARD_IDS": seat.ids,
            "OMP_NUM_THREADS": "1",
        }
        seat.process = _CONTEXT.Process(target=run, args=(self.start_with, given))
        seat.process.start()
        assert seat.process.pid is not None
        self._groups.add(seat.process.pid)

    async def kill(self, seat: Seat) -> None:
        """Kill a process with SIGKILL and wait for its end. Its children are left alone."""
        assert seat.process is not None and seat.process.pid is not None
        seat.cpu_s += processor_s(seat.process.pid)
        seat.process.kill()
        while seat.process.exitcode is None:
            await asyncio.sleep(0.01)

    async def stop(self, at_most_s: float = 60.0) -> list[int | None]:
        """Stop all processes in order, and return their exit codes; None: it did not end in time."""
        for seat in self.seats:
            if seat.pid is not None:
                os.kill(seat.pid, signal.SIGTERM)
        until_s = time.monotonic() + at_most_s
        while any(seat.pid for seat in self.seats) and time.monotonic() < until_s:
            await asyncio.sleep(0.05)
        return [seat.process.exitcode for seat in self.seats if seat.process is not None]

    def end(self) -> None:
        """Kill what is left of each process group."""
        for group in self._groups:
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def outlived(self) -> list[int]:
        """Return the processes whose parent was killed, and that still run."""
        dead = self._groups - {seat.pid for seat in self.seats}
        return [pid for pid, group in _groups_of_all().items() if group in dead]

    def cpu_s(self) -> float:
        """Return the processor seconds of all processes and their ended children so far."""
        running = [seat.pid for seat in self.seats if seat.pid is not None]
        return sum(one.cpu_s for one in self.seats) + sum(map(processor_s, running))

    def memory_mib(self) -> list[float]:
        """Return the memory of each running process, MiB: what others share counts in parts."""
        return [memory_mib(seat.pid) for seat in self.seats if seat.pid is not None]


def _stat_of(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` after the name; empty: it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _groups_of_all() -> dict[int, int]:
    found: dict[int, int] = {}
    for one in Path("/proc").glob("[0-9]*"):
        stat = _stat_of(int(one.name))
        if stat and stat[0] != "Z":
            found[int(one.name)] = int(stat[2])
    return found


def processor_s(pid: int) -> float:
    """Return the processor seconds of a process and of its ended children."""
    stat = _stat_of(pid)
    return sum(int(one) for one in stat[11:15]) / _TICKS if stat else 0.0


def memory_mib(pid: int) -> float:
    """Return the proportional set size of a process, MiB; 0: it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def postgres_processes(folder: str) -> list[int]:
    """Return the postmaster of a data folder and its children.

    Args:
        folder: Folder of the server's socket, where its pid file is, or a folder below it.
    """
    file = next(Path(folder).rglob("postmaster.pid"), None)
    if file is None:
        return []
    master = int(file.read_text().split()[0])
    stats = {int(one.name): _stat_of(int(one.name)) for one in Path("/proc").glob("[0-9]*")}
    return [master, *(pid for pid, stat in stats.items() if stat and int(stat[1]) == master)]
