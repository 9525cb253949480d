"""Cost of a start with the packaged models: processor time until ready, and memory then and after a burst.

Part of ``make bench``. Each measurement is a process of its own that opens the playground, the bot that
``make run`` starts. ``python -m tests.benchmarks.starting --beside FOLDER`` measures another checkout in the
same run, each in turn, because figures of two runs on a shared machine cannot be compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parents[2]


def resident(process: int | str = "self") -> dict[str, int]:
    """Return the resident memory of a process in MB: all of it, anonymous, of mapped files."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    names = {"VmRSS": "resident", "RssAnon": "anonymous", "RssFile": "files"}
    return {
        names[name]: int(size) // 1024
        for name, size in re.findall(r"^(VmRSS|RssAnon|RssFile):\s+(\d+) kB", status, re.MULTILINE)
    }


async def measure(messages: int) -> dict[str, float]:
    """Open the playground in this process, answer some messages, run a round, and return what it took."""
    from bot.app.playground import open_playground
    from bot.config import Settings
    from tests.rig.everyday import contexts

    settings = Settings()
    async with open_playground(settings) as opened:
        used, house = resource.getrusage(resource.RUSAGE_SELF), opened.house
        found = {"seconds": time.time() - float(os.environ["STARTED"]), "cpu": used.ru_utime + used.ru_stime}
        found |= {f"{name} when ready": size for name, size in resident().items()}
        for context in contexts()[:messages]:
            written = await house.generator.generate(context, settings.generator.styles)
            await house.ranker.rank(None, context.message, [one.text for one in written])
        found |= {f"{name} after": size for name, size in resident().items()}
        found["modules"] = len(sys.modules)
        await house.trainer.warm_up()
        found["worker"] = max(resident(child)["resident"] for child in _children())
    return found


def _children() -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split() if Path(f"/proc/{pid}/status").exists()]


def start_once(checkout: Path, messages: int) -> dict[str, float]:
    """Measure one start of a checkout in a new process, with a model folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(Path(__file__)), "--child", "--messages", str(messages)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(checkout), "STARTED": str(time.time())},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


def compared(checkouts: Sequence[Path], *, times: int, messages: int) -> list[dict[str, float]]:
    """Start each checkout ``times`` times in turn; return the medians of each."""
    runs = [[start_once(checkout, messages) for checkout in checkouts] for _ in range(times)]
    return [
        {name: statistics.median(run[i][name] for run in runs) for name in runs[0][i]}
        for i in range(len(checkouts))
    ]


def rows_of(found: dict[str, float], messages: int) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, figure, note."""
    sizes = "{:.0f} MB ({:.0f} of it mapped files)"
    return [
        ("start of the playground until ready, processor time", f"{found['cpu']:.1f} s", "user and system"),
        ("... wall time", f"{found['seconds']:.1f} s", "bar: at most 6 s on two quiet cores"),
        (
            "memory of the bot when ready",
            sizes.format(found["resident when ready"], found["files when ready"]),
            "bar: at most 600 MB",
        ),
        (
            f"... after {messages} messages with four candidates each",
            sizes.format(found["resident after"], found["files after"]),
            "",
        ),
        ("memory of the process that solves heads", f"{found['worker']:.0f} MB", "ends when idle"),
    ]


def main() -> None:
    """Measure and print, or measure once for another process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--beside", type=Path, action="append", default=[], help="another checkout to compare"
    )
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--messages", type=int, default=10, help="messages in the burst")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(asyncio.run(measure(arguments.messages))))
        return
    checkouts = [HERE, *(folder.resolve() for folder in arguments.beside)]
    for checkout, found in zip(
        checkouts,
        compared(checkouts, times=arguments.times, messages=arguments.messages),
        strict=True,
    ):
        print(f"\n{checkout.name}\n\n| what | figure | note |\n|---|---|---|")
        for what, figure, note in rows_of(found, arguments.messages):
            print(f"| {what} | {figure} | {note} |")


if __name__ == "__main__":
    main()
