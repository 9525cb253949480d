"""``simpatico playground``: the bot in a simulated Discord, in the browser."""

from __future__ import annotations

import argparse
import asyncio
import logging
from importlib.util import find_spec

from bot.config import ConfigError, Settings


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Serve the playground until it is stopped.

    Raises:
        ConfigError: simcord is not installed, or the port is not free.
        GeneratorError: The language model cannot be loaded.
        EncoderError: The encoder cannot be loaded.
    """
    logging.getLogger("discord.state").setLevel(logging.ERROR)  # simcord starts a client without intents
    try:
        from bot.app.playground import play  # simcord is an extra
    except ModuleNotFoundError as exc:
        if find_spec("simcord") is not None:
            raise  # another package is broken
        raise ConfigError(
            f"the playground needs the package {exc.name}: run `make install`,"
            " or pip install 'simpatico[playground]'"
        ) from exc
    asyncio.run(play(settings, arguments.port))
