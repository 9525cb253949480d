"""The processes of a run: starts, kills and restarts them, and reads their processor time and memory."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.settings import BotSettings
from tests.rig.promises import ROOT

_TICKS = os.sysconf("SC_CLK_TCK")
RESTART_S = 0.5
"""Seconds before a killed process is started again, as a container runtime does."""


@dataclass
class Seat:
    """One place of the deployment, whose process is started again when it ends.

    Attributes:
        ids: Its ``SIMPATICO_SHARD_IDS``.
        process: The process; None: not started.
        n_kills: How often it was killed.
        cpu_s: Processor seconds of its ended processes.
    """

    ids: str
    process: asyncio.subprocess.Process | None = None
    n_kills: int = 0
    cpu_s: float = 0.0


@dataclass
class Fleet:
    """All processes of the bot.

    Attributes:
        arguments: Arguments of :mod:`tests.rig.scale.process`.
        token: The bot token.
        shard_count: Shards in all processes together.
        log: File for what they write to stderr.
        seats: The places.
        orphans: Children of killed processes that outlived them by some seconds.
    """

    arguments: Sequence[str]
    token: str
    shard_count: int
    log: Path
    seats: list[Seat] = field(default_factory=list)
    orphans: list[int] = field(default_factory=list)
    _groups: set[int] = field(default_factory=set)

    async def start(self, seat: Seat) -> None:
        """Start the process of a seat, in a process group of its own."""
        given = {
            BotSettings().token_env: self.token,
            "SIMPATICO_SHARD_COUNT": str(self.shard_count),
            "SIMPATICO_SHARD_IDS": seat.ids,
            "OMP_NUM_THREADS": "1",
        }
        with self.log.open("ab") as log:
            seat.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.rig.scale.process", *self.arguments),
                cwd=ROOT,
                env=os.environ | given,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self._groups.add(seat.process.pid)

    async def kill(self, seat: Seat) -> None:
        """Kill a process with SIGKILL and wait for its end. Its children are left alone."""
        assert seat.process is not None
        seat.cpu_s += processor_s(seat.process.pid)
        seat.n_kills += 1
        seat.process.kill()
        await seat.process.wait()

    async def stop(self) -> list[int | None]:
        """Stop all processes in order, and return their exit codes; what does not end is killed."""
        running = [one.process for one in self.seats if one.process is not None]
        for process in running:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        await asyncio.gather(*(asyncio.wait_for(process.wait(), 60) for process in running))
        return [process.returncode for process in running]

    def end(self) -> None:
        """Kill what is left of each process group."""
        for group in self._groups:
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def outlived(self) -> list[int]:
        """Return the processes whose parent was killed, and that still run."""
        living = {one.process.pid for one in self.seats if one.process and one.process.returncode is None}
        dead = self._groups - living
        return [pid for pid, group in _groups_of_all().items() if group in dead]

    def cpu_s(self) -> float:
        """Return the processor seconds of all processes and their children so far."""
        running = [one.process for one in self.seats if one.process and one.process.returncode is None]
        return sum(one.cpu_s for one in self.seats) + sum(processor_s(process.pid) for process in running)

    def memory_mib(self) -> list[float]:
        """Return the memory of each running process, in MiB: shared pages count in parts."""
        running = [one.process for one in self.seats if one.process and one.process.returncode is None]
        return [memory_mib(process.pid) for process in running]


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
        lines: Any = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
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
