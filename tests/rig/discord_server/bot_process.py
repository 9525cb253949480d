"""The bot in a process of its own, on a small Discord: ``python -m tests.rig.discord_server.bot_process``.

It is ``simpatico run`` with fakes for the models, and SIGTERM stops it in an orderly way. The arguments are
the address of the server and the configuration file. :func:`bot_process` starts one from a test.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from bot.app.composition import open_house
from bot.commands import join_discord
from bot.config import load_settings
from bot.settings import BotSettings
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.discord_server.server import DiscordServer, pointed_at

_ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def bot_process(
    server: DiscordServer, config: Path, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a bot process; it is killed at the end, if it still runs. A test that kills it waits for it, too.

    Args:
        server: The Discord that it logs in on.
        config: Its configuration file. Several processes share one that names a PostgreSQL database.
        environment: Further variables of its environment.
    """
    given: Mapping[str, str] = {**os.environ, BotSettings().token_env: server.token, **environment}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.rig.discord_server.bot_process", server.url, str(config)),
        cwd=_ROOT,
        env=given,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def main(url: str, config: str) -> None:
    """Run until SIGTERM."""
    join_discord.open_house = partial(open_house, encoder=HashEncoder(), generator=ScriptedGenerator())
    with pointed_at(url):
        join_discord.run(argparse.Namespace(config=Path(config)), load_settings(Path(config)))


if __name__ == "__main__":
    main(*sys.argv[1:])
