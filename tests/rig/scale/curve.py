"""``python -m tests.rig.scale.curve``: what a reply costs with 1, 2, 4 and 8 processes on one database.

Each number of processes gets more prompts a second, step by step, until the 95th percentile of the overhead
exceeds a bar. Processor time a reply does not depend on what else the machine does; latency does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.rig.postgres import PostgresServer, running
from tests.rig.scale.journal import read_generations
from tests.rig.scale.outcome import judge, percentiles
from tests.rig.scale.simulation import Simulation, Size, say, simulation

BASE = Size(
    servers=48, members=48, agreed=48, spares=0, shards=8, concurrency=8, kill_every_s=0.0, seconds=30.0
)
WARM_S, CALM, ALL_WARM_S = 8.0, 0.1, 180.0
"""Processes count as warm once each used less than a tenth of a core twice for eight seconds, or after three
minutes."""


async def step(here: Simulation, a_second: float) -> dict[str, Any]:
    """Send so many prompts a second, and return what they cost."""
    here.size = replace(here.size, a_second=a_second)
    n_before, before, began = len(here.city.asked), here.processor_s(), time.monotonic()
    written = await here.written()
    took_s = await here.live()
    after, then = here.processor_s(), await here.written()
    asked = list(here.city.asked.values())[n_before:]
    read_generations(here.journal, asked)
    prompts, good = judge(asked, here.darks, 0)
    n_replies = max(1, sum(bool(one.replies) for one in asked))
    idle_s = here.idle * (time.monotonic() - began) * here.size.processes
    cost = {name: after[name] - before[name] - (idle_s if name == "bot" else 0.0) for name in after}
    return {
        "processes": here.size.processes,
        "a_second": round(len(asked) / took_s, 2),
        "not_once": len(prompts.not_once),
        "overhead_ms": percentiles([one.overhead_s for one in good]),
        "ms_a_reply": {name: round(1000 * cost_s / n_replies, 1) for name, cost_s in cost.items()},
        "written_a_reply": {name: round((then[name] - written[name]) / n_replies) for name in then},
        "load": round(os.getloadavg()[0], 1),
    }


async def warm(here: Simulation) -> None:
    """Wait until the processes have loaded what they load after the start, and measure what idling costs."""
    n, until_s, n_calm = here.size.processes, time.monotonic() + ALL_WARM_S, 0
    while n_calm < 2 and time.monotonic() < until_s:
        before, began = here.processor_s()["bot"], time.monotonic()
        await asyncio.sleep(WARM_S)
        here.idle = (here.processor_s()["bot"] - before) / (time.monotonic() - began) / n
        n_calm = n_calm + 1 if here.idle < CALM else 0


async def curve(
    size: Size, processes: list[int], rates: list[float], at_most_ms: float, postgres: PostgresServer
) -> list[dict[str, Any]]:
    """Return the steps of each number of processes; the last of each is the one that was too much."""
    found: list[dict[str, Any]] = []
    for n in processes:
        with tempfile.TemporaryDirectory(prefix="simpatico-scale-") as folder:
            async with simulation(replace(size, processes=n), postgres, Path(folder)) as here:
                await here.connect()
                await here.members_agree()
                await warm(here)
                for rate in rates:
                    found.append(await step(here, rate) | {"idle_cores": round(here.idle, 4)})
                    say(json.dumps(found[-1]))
                    if found[-1]["overhead_ms"].get("p95", at_most_ms + 1) > at_most_ms:
                        break
                memory = [round(one) for one in here.fleet.memory_mib()]
                found[-1]["memory_mib"] = memory
                await here.fleet.stop()
    return found


def main() -> int:
    """Measure, and write the steps into a file."""
    parser = argparse.ArgumentParser(prog="curve", description=__doc__)
    parser.add_argument("--processes", default="1,2,4,8")
    parser.add_argument("--rates", default="2,4,8,16,32", help="prompts a second of the steps")
    parser.add_argument("--at-most-ms", type=float, default=250.0)
    parser.add_argument("--encoder", default="0.122", help="as for a process; seconds stand for own cores")
    parser.add_argument("--seconds", type=float, default=BASE.seconds)
    parser.add_argument("--requests-a-second", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    size = replace(
        BASE, encoder=given.encoder, seconds=given.seconds, requests_a_second=given.requests_a_second
    )
    processes, rates = (
        [int(n) for n in given.processes.split(",")],
        [float(n) for n in given.rates.split(",")],
    )
    with running() as postgres:
        found = asyncio.run(curve(size, processes, rates, given.at_most_ms, postgres))
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
