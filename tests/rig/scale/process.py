"""One process of the bot: ``simpatico run`` with a generator that keeps a journal.

It is forked from a server of multiprocessing that has imported the bot's modules, because the imports of nine
processes would cost half a minute of a small machine. From then on it is a process as any other.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bot.app.composition import open_house
from bot.commands import join_discord
from bot.config import load_settings
from bot.generation import Candidate, Context, Style
from personalization.arrays import FloatArray
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.discord_server.server import pointed_at

NUMBER = re.compile(r"question (\d+)\b")
"""Number of a prompt in its text."""


class JournalGenerator(ScriptedGenerator):
    """Writes begin and end of each generation into a file, in one system call, so that a kill loses none.

    Args:
        journal: The file; several processes append to it.
        takes_s: Seconds of a generation.
    """

    def __init__(self, journal: Path, takes_s: float) -> None:
        super().__init__()
        self._takes_s = takes_s
        self._file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        found = NUMBER.search(context.message)
        number = int(found[1]) if found else -1
        self._note("begin", number)
        await asyncio.sleep(self._takes_s)
        self._note("end", number)
        return [Candidate(f"Answer {number} in the style {one.name}.", one.name) for one in styles]

    def _note(self, what: str, number: int) -> None:
        os.write(self._file, f"{what} {number} {os.getpid()} {time.monotonic():.6f}\n".encode())


class WaitingEncoder(HashEncoder):
    """Hash encoder that takes a while for several texts; it runs in a thread of the ranker.

    Args:
        takes_s: Seconds for the five texts of a reply.
    """

    def __init__(self, takes_s: float) -> None:
        super().__init__()
        self._takes_s = takes_s

    def encode(self, texts: Sequence[str]) -> FloatArray:
        time.sleep(self._takes_s * len(texts) / 5)
        return super().encode(texts)


@dataclass(frozen=True)
class Start:
    """What a process is started with.

    Attributes:
        url: Address of the small Discord.
        config: Configuration file.
        journal: File for the generations.
        log: File for what it writes to stderr.
        generation_s: Seconds of a generation.
        encoder: ``real`` (the configured one), ``none`` (a hash), or a number: a hash that takes so many
            seconds for a reply. Such a wait stands for an encoder on processor cores of its own.
    """

    url: str
    config: Path
    journal: Path
    log: Path
    generation_s: float
    encoder: str


def run(start: Start, environment: Mapping[str, str]) -> None:
    """Run the bot until SIGTERM, in a process group of its own."""
    os.setsid()
    for file in (sys.stdout, sys.stderr):
        os.dup2(os.open(start.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), file.fileno())
    os.environ.update(environment)
    parts: dict[str, object] = {"generator": JournalGenerator(start.journal, start.generation_s)}
    if start.encoder != "real":
        takes = start.encoder
        parts["encoder"] = HashEncoder() if takes == "none" else WaitingEncoder(float(takes))
    join_discord.open_house = partial(open_house, **parts)  # type: ignore[arg-type]
    with pointed_at(start.url):
        join_discord.run(argparse.Namespace(config=start.config), load_settings(start.config))
