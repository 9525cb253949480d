"""``make soak MINUTES=10``: runs the real bot under load for a long time, with a fault every few seconds.

A child process runs the bot in the simulated Discord. Its members ask, react, remove reactions, rate, delete,
agree and forget, and Discord and the disk fail (:mod:`tests.rig.soak_child`). This process reads the child's
reports and ends it: with SIGKILL at random moments, at named failpoints, or with SIGTERM. Then it compares
the database with the expected state. Every minute it scans all files and the log for canaries. The last line
counts events, faults, lost and doubled reactions, plain-text hits and memory growth. Exit code 0 means:
nothing lost, doubled or in plain text, and no unsound file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.failpoints import FAILPOINTS, VARIABLE
from storage.store import Store
from tests.rig.promises import ROOT
from tests.rig.soak_child import settings_in
from tests.rig.soak_model import Step, load_model

ENDS = ("kill", "kill", "failpoint", "failpoint", "stop")
SCAN_EVERY_S = 60.0
WARM = 60
"""Bursts before the first memory reading counts: until then the caches are still filling."""


@dataclass
class Child:
    """The child process, its reports, and the steps since it was last quiet."""

    process: subprocess.Popen[bytes]
    under_way: list[Step] = field(default_factory=list)
    quiet: list[dict[str, Any]] = field(default_factory=list)

    def listen(self) -> None:
        """Read its reports until it ends. Blocks; call from a thread."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith(b"\n"):
                return  # the kill cut the line off
            what, content = line.decode().split(" ", 1)
            if what == "step":
                self.under_way.append(Step(**json.loads(content)))
            else:
                self.under_way = []
                self.quiet.append(json.loads(content))


@dataclass
class Tally:
    """Counts of a soak."""

    events: int = 0
    bursts: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    in_clear: int = 0
    unsound: int = 0
    unanswered: int = 0
    scans: int = 0
    bytes_scanned: int = 0
    growth_mib: float = 0.0
    longest: int = 0

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.in_clear or self.unsound)

    def line(self, minutes: float) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        return (
            f"soak of {minutes:.0f} minutes: {self.events} events in {self.bursts} bursts,"
            f" {self.faults.total()} faults ({kinds}), {self.lost} lost, {self.doubled} doubled,"
            f" {self.in_clear} in clear ({self.scans} scans, {self.bytes_scanned / 2**20:.0f} MiB),"
            f" {self.unsound} unsound files, {self.unanswered} prompts unanswered while Discord failed,"
            f" memory {self.growth_mib:+.1f} MiB in the {self.longest} bursts of the longest life"
        )


class Soak:
    """Runs child processes one after the other in a folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.tally = Tally()
        self._events_before = 0
        self._scanned_at = time.monotonic()

    def run(self, minutes: float) -> Tally:
        """Soak for this many minutes."""
        ends_at = time.monotonic() + 60 * minutes
        while time.monotonic() < ends_at:
            end = self.rng.choice(ENDS)
            lives_s = min(self.rng.choice((20, 60, 120, 240, 480)), max(1.0, ends_at - time.monotonic()))
            if ends_at - time.monotonic() < 30:
                end = "stop"
            self._life(end, lives_s)
            print(self.tally.line(minutes - (ends_at - time.monotonic()) / 60), flush=True)
        self._scan()
        return self.tally

    def _life(self, end: str, lives_s: float) -> None:
        """Run one child from start to end, and check what it left."""
        moment = self._moment() if end == "failpoint" else ""
        child = self._start(moment)
        listener = threading.Thread(target=child.listen)
        listener.start()
        ready_by = time.monotonic() + 300
        while not child.quiet and child.process.poll() is None and time.monotonic() < ready_by:
            time.sleep(0.2)
        ends_at = time.monotonic() + lives_s
        while child.process.poll() is None and time.monotonic() < ends_at:
            time.sleep(0.5)
            if time.monotonic() - self._scanned_at > SCAN_EVERY_S:
                self._scan()
        died_by_itself = child.process.poll() is not None
        if not died_by_itself:
            child.process.send_signal(signal.SIGTERM if end == "stop" else signal.SIGKILL)
        code = child.process.wait(timeout=120)
        listener.join()
        expected = 0 if end == "stop" and not died_by_itself else -signal.SIGKILL
        if code != expected or (died_by_itself and not moment):
            log = (self.folder / "log.txt").read_text()[-3000:]
            raise RuntimeError(f"expected the child to end with {expected}, found {code}:\n{log}")
        self.tally.faults[
            "stopped" if end == "stop" else "killed at a failpoint" if died_by_itself else "killed"
        ] += 1
        self._count(child)
        asyncio.run(self._compare(child))

    def _moment(self) -> str:
        """Draw a failpoint and the passing at which it kills; most are passed less often than commits."""
        name = self.rng.choice(list(FAILPOINTS))
        passing = self.rng.randrange(20, 200) if name.startswith("writer.") else self.rng.randrange(1, 4)
        return f"{name}=kill@{passing}"

    def _start(self, failpoints: str) -> Child:
        with (self.folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.rig.soak_child",
                    str(self.folder),
                    str(self.rng.getrandbits(32)),
                ],
                cwd=ROOT,
                env=os.environ | {VARIABLE: failpoints, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        return Child(process)

    def _count(self, child: Child) -> None:
        tally = self.tally
        for quiet in child.quiet:
            tally.bursts += 1
            tally.lost += len(quiet["lost"])
            tally.doubled += len(quiet["extra"]) + quiet["doubled"]
            tally.unanswered += quiet["unanswered"]
            tally.events = quiet["events"]
            if quiet["fault"] != "none":
                tally.faults[quiet["fault"]] += 1
            if quiet["lost"] or quiet["extra"] or quiet["doubled"] or quiet["errors"]:
                print(f"after {quiet['fault']}: {quiet}", flush=True)
        memory = [quiet["rss"] for quiet in child.quiet[WARM:]]
        if len(memory) > max(1, tally.longest):
            tally.longest, tally.growth_mib = len(memory), memory[-1] - memory[0]

    async def _compare(self, child: Child) -> None:
        """Check the files of the ended child, and save its unfinished steps for the next child to repair."""
        raw = sqlite3.connect(self.folder / "house" / "data" / "data.db")
        verdict = raw.execute("PRAGMA integrity_check").fetchall()
        raw.close()
        if verdict != [("ok",)]:
            self.tally.unsound += 1
            print(f"integrity_check: {verdict[:3]}", flush=True)
        saved = self.folder / "discord.pickle"
        if saved.exists():
            async with await Store.open(settings_in(self.folder).storage) as store:
                found = await load_model(saved).compare(store, child.under_way)
            self.tally.lost += len(found.lost)
            self.tally.doubled += len(found.extra)
            if found.lost or found.extra:
                print(f"after the end, with {len(child.under_way)} steps under way: {found}", flush=True)
        (self.folder / "under-way.json").write_text(json.dumps(child.under_way))

    def _scan(self) -> None:
        """Scan all files and the log for canaries."""
        self._scanned_at = time.monotonic()
        saved, key = self.folder / "discord.pickle", self.folder / "house" / "keys" / "master.key"
        if not saved.exists():
            return
        canaries = load_model(saved).canaries(key.read_text().strip())
        hits = canaries.in_folder(self.folder / "house", but=["master.key"])
        with (self.folder / "log.txt").open("rb") as log:
            hits += canaries.in_stream(log, "log.txt")
        self.tally.scans += 1
        self.tally.in_clear += len(hits)
        files = [path for path in (self.folder / "house").rglob("*") if path.is_file()]
        self.tally.bytes_scanned += sum(path.stat().st_size for path in [*files, self.folder / "log.txt"])
        for hit in hits[:10]:
            print(f"in clear: {hit.canary} as {hit.form} in {hit.where} at {hit.offset}", flush=True)


def main() -> int:
    """Soak for the requested time and print the result."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument(
        "--folder", type=Path, help="working folder, kept at the end; by default a new one, removed if clean"
    )
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"soak in {folder}, seed {arguments.seed}", flush=True)
    tally = Soak(folder, arguments.seed).run(arguments.minutes)
    if tally.is_clean and arguments.folder is None:
        shutil.rmtree(folder)
    print(tally.line(arguments.minutes), flush=True)
    return int(not tally.is_clean)


if __name__ == "__main__":
    sys.exit(main())
