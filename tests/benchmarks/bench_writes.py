"""``python -m tests.benchmarks.bench_writes``: what the one lock of all writers costs on PostgreSQL.

Several processes write for servers of their own: a reply to a member who agreed, and a reaction to it. The
same load comes under three rules, in turns, so that other work on the machine hits all alike:

* ``one``: the one lock of all writers, as released;
* ``own``: each process has a lock of its own, so none waits for the lock of another one. No lock per server
  can do better. The row with the last number is still shared: an update of it lasts until the commit;
* ``free``: numbers come from the clock of each process as well, so nothing is shared. Such numbers are not in
  the order of commits, so a round would miss members: this is a bound, not a candidate.

For each rule: writes done a second, their latency, the wait for the lock and the share of the time in which
any process holds it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from storage.database import change_numbers, postgres
from storage.database.writer import Writer
from storage.records import Place, Who
from storage.settings import StorageSettings
from storage.store import Store
from tests.rig.postgres import running
from tests.unit.storage.given import CHANNEL, GUILD, IMPRESSION

RULES = ("one", "own", "free")
MEMBERS = 40
REPLY = replace(IMPRESSION, features=bytes(2048))


class Worker:
    """One process: writes at a given rate, and measures.

    Args:
        number: Of the process.
        store: Of the process.
    """

    def __init__(self, number: int, store: Store) -> None:
        self._number, self._store = number, store
        self._people = [Who(GUILD + number, 1000 * (number + 1) + one) for one in range(MEMBERS)]
        self._message = (number + 1) << 40
        self._held: list[tuple[float, float]] = []
        self._taken_s = 0.0
        self._waits: list[float] = []
        self.rule = "one"

    async def prepare(self) -> None:
        """Let all members agree, and measure around the lock."""
        for who in self._people:
            await self._store.consent.record(who)
        engine = self._store._writer._connection.engine.sync_engine
        only_writer, apply, number = postgres._be_the_only_writer, Writer._apply, change_numbers.next_number
        postgres.event.remove(engine, "begin", only_writer)

        def be_the_writer(connection: Any) -> None:
            before = time.perf_counter()
            if self.rule == "one":
                only_writer(connection)
            else:
                own = 1000 + self._number
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({postgres.ADVISORY}, {own})")
            self._taken_s = time.perf_counter()
            self._waits.append(self._taken_s - before)

        async def applied(writer: Writer, group: list[Any]) -> None:
            await apply(writer, group)
            self._held.append((self._taken_s, time.perf_counter()))

        def numbered(connection: Any, count: int = 1) -> int:
            if self.rule != "free":
                return number(connection, count)
            self._message += count
            return (time.time_ns() // 1000) * 16 + self._number

        postgres.event.listen(engine, "begin", be_the_writer, insert=True)
        Writer._apply = applied  # type: ignore[method-assign] - this process only measures
        for module in list(sys.modules.values()):
            if getattr(module, "next_number", None) is number:
                module.next_number = numbered  # type: ignore[attr-defined]

    async def write(self, rule: str, a_second: float, seconds: float) -> dict[str, Any]:
        """Write replies at this rate, each with a reaction, and return the measures."""
        self.rule, self._held, self._waits = rule, [], []
        rng, began, tasks = random.Random(self._number), time.perf_counter(), []
        took: list[float] = []
        at = began
        while (at := at + rng.expovariate(a_second)) < began + seconds:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            tasks.append(asyncio.create_task(self._pair(rng.choice(self._people), took)))
        failed = [one for one in await asyncio.gather(*tasks, return_exceptions=True) if one is not None]
        return {
            "took": took,
            "waits": self._waits,
            "held_s": sum(end - begin for begin, end in self._held),
            "transactions": len(self._held),
            "failed": [type(one).__name__ for one in failed],
            "seconds": time.perf_counter() - began,
        }

    async def _pair(self, who: Who, took: list[float]) -> None:
        self._message += 1
        message = self._message
        before = time.perf_counter()
        await self._store.replies.record(who, Place(CHANNEL, (message,)), REPLY)
        between = time.perf_counter()
        await self._store.feedback.record_reaction(who, message, "👍", added=True)
        took += [between - before, time.perf_counter() - between]


async def work(number: int, settings: StorageSettings) -> None:
    """Answer each line of the standard input (rule, rate, seconds) with a line of measures."""
    async with await Store.open(settings) as store:
        worker = Worker(number, store)
        await worker.prepare()
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            rule, a_second, seconds = line.split()
            print(json.dumps(await worker.write(rule, float(a_second), float(seconds))), flush=True)


async def measure(url: str, folder: Path, n: int, options: argparse.Namespace) -> AsyncIterator[str]:
    """Start so many processes, and yield a row of figures for each rate and rule."""
    settings = ["--worker", url, str(folder)]
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "tests.benchmarks.bench_writes", *settings)
    workers = []
    for number in range(n):  # one after the other: the first one makes the tables
        one = await asyncio.create_subprocess_exec(
            *command, str(number), stdin=pipe, stdout=pipe, limit=2**26
        )
        assert one.stdin is not None and one.stdout is not None
        assert await one.stdout.readline() == b"ready\n"
        workers.append((one.stdin, one.stdout, one))
    for a_second in options.rates:
        found: dict[str, list[dict[str, Any]]] = {rule: [] for rule in RULES}
        for _ in range(options.turns):
            for rule in RULES:
                for into, _, _ in workers:
                    into.write(f"{rule} {a_second / n} {options.seconds}\n".encode())
                found[rule] += [json.loads(line) for line in [await out.readline() for _, out, _ in workers]]
        for rule, parts in found.items():
            yield row(n, a_second, rule, parts, options.turns)
    for into, _, process in workers:
        into.close()
        await process.wait()


def row(n: int, a_second: float, rule: str, parts: list[dict[str, Any]], turns: int) -> str:
    """Return one row of the table."""
    took = 1000 * np.array([one for part in parts for one in part["took"]])
    waits = 1000 * np.array([one for part in parts for one in part["waits"]])
    span_s = turns * max(part["seconds"] for part in parts)
    held = sum(part["held_s"] for part in parts)
    n_transactions = sum(part["transactions"] for part in parts)
    failed = [name for part in parts for name in part["failed"]]
    p50, p95, p99 = np.percentile(took, (50, 95, 99))
    return (
        f"| {n} | {a_second:g} | {rule} | {len(took) / span_s:.0f} | {p50:.0f} | {p95:.0f} | {p99:.0f} |"
        f" {np.median(waits):.1f} | {np.percentile(waits, 95):.1f} | {1000 * held / n_transactions:.1f} |"
        f" {100 * held / span_s:.0f} % | {len(took) / n_transactions:.1f} | {len(failed)} |"
    )


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[4])
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[10, 16, 40], help="replies a second in all"
    )
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="the server's files in memory")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        url, folder, number = options.worker
        settings = StorageSettings(data_dir=Path(folder), key_dir=Path(folder), url=url)
        return await work(int(number), settings)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores; milliseconds")
    print(
        "| processes | replies/s offered | rule | writes/s | p50 | p95 | p99 | wait p50 | wait p95 | held |"
        " held, of the time | writes a transaction | failed |\n|" + 13 * "---|"
    )
    with running(on_disk=not options.memory) as server:
        for n in options.processes:
            with tempfile.TemporaryDirectory(prefix="simpatico-writes-") as folder:
                async for one in measure(server.url(await server.fresh()), Path(folder), n, options):
                    print(one, flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")
    return None


if __name__ == "__main__":
    asyncio.run(main())
