"""The bot in a process of its own, on a small Discord: ``python -m tests.rig.discord_server.bot_process``.

It is ``simpatico run`` with fakes for the models. SIGTERM stops it in an orderly way. The arguments are the
address of the server and the configuration file; the environment holds the token.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from bot.app.composition import open_house
from bot.commands import join_discord
from bot.config import load_settings
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.discord_server.server import pointed_at


def main(url: str, config: str) -> None:
    """Run until SIGTERM."""
    join_discord.open_house = partial(open_house, encoder=HashEncoder(), generator=ScriptedGenerator())
    with pointed_at(url):
        join_discord.run(argparse.Namespace(config=Path(config)), load_settings(Path(config)))


if __name__ == "__main__":
    main(*sys.argv[1:])
