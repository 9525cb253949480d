"""The ``simpatico`` command: arguments, logging, start-up, orderly stop.

A failure to start is one readable line on standard error and an exit code: 2 for the configuration, 3 for
data or keys, 4 for a model, 5 for Discord.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import discord

from bot.app.composition import open_house
from bot.app.config_reload import Reloader, put_into_use
from bot.app.health import Health, proofs_of
from bot.app.logs import set_up_logging
from bot.app.monitor import open_monitor
from bot.client import create_bot
from bot.commands import adapt_encoder as adapting
from bot.commands import completion
from bot.commands import report as reporting
from bot.commands import tune as tuning
from bot.commands.evaluate import add_arguments, run_evaluation
from bot.commands.fit_starter import add_fitting_arguments, run_fitting
from bot.commands.stored_data import add_keeping_commands, run_keeping
from bot.config import ConfigError, Settings, load_settings, read_secret
from bot.doctor.command import run_doctor
from bot.generation import GeneratorError
from bot.generators.factory import prepare_local_model
from bot.moderation.toxicity import ToxicityError
from personalization.encoding.encoder import EncoderError
from personalization.errors import DeviceMissing
from personalization.lab.datasets import DatasetBroken
from storage.errors import StorageError
from storage.failpoints import FAILPOINTS

EXIT_CONFIG, EXIT_STORAGE, EXIT_MODEL, EXIT_DISCORD = 2, 3, 4, 5


class DiscordRefused(Exception):
    """Discord could not be reached, or did not let the bot in; the message says why and what to do."""


_FAILURES: tuple[tuple[type[Exception], int], ...] = (
    (ConfigError, EXIT_CONFIG),
    (DatasetBroken, EXIT_CONFIG),
    (StorageError, EXIT_STORAGE),
    (EncoderError, EXIT_MODEL),
    (DeviceMissing, EXIT_MODEL),
    (GeneratorError, EXIT_MODEL),
    (ToxicityError, EXIT_MODEL),
    (DiscordRefused, EXIT_DISCORD),
    (OSError, EXIT_STORAGE),  # a folder that cannot be made or written: the message names it
)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = command_parser()
    arguments = parser.parse_args(argv)
    set_up_logging(verbose=arguments.verbose)
    if arguments.command == "completion":
        print(completion.completion_of(parser, arguments.shell))
        return 0
    if arguments.command == "doctor":
        return run_doctor(_config_path(arguments.config))
    try:
        _start(arguments, load_settings(_config_path(arguments.config)))
    except tuple(kind for kind, _ in _FAILURES) as exc:
        print(f"simpatico: {exc}", file=sys.stderr)
        return next(code for kind, code in _FAILURES if isinstance(exc, kind))
    return 0


def _start(arguments: argparse.Namespace, settings: Settings) -> None:
    token = read_secret(settings.bot.token_env)
    if run_keeping(arguments, settings):
        return
    if arguments.command == "models":
        prepare_local_model(settings.generator, progress=True)
    elif arguments.command == "failpoints":
        for name, moment in FAILPOINTS.items():
            print(f"{name:28} {moment}")
    elif arguments.command == "evaluate":
        run_evaluation(arguments, settings)
    elif arguments.command == "adapt-encoder":
        adapting.run_adapting(arguments, settings)
    elif arguments.command == "tune":
        tuning.run_tuning(arguments, settings)
    elif arguments.command == "fit-starter":
        run_fitting(arguments, settings)
    elif arguments.command == "report":
        reporting.run_reporting(arguments, settings)
    elif arguments.command != "playground" and token is not None:
        asyncio.run(_serve(settings, token, lambda: _config_path(arguments.config)))
    else:
        if arguments.command != "playground":
            missing = f"No {settings.bot.token_env} in the environment or in .env"
            print(f"{missing}: opening the playground instead.", flush=True)
        _play(settings, arguments.port)


async def _serve(settings: Settings, token: str, find: Callable[[], Path | None]) -> None:
    """Be on Discord until SIGTERM or SIGINT, then finish what runs and leave."""
    async with (
        open_house(settings, progress=True) as house,
        Health(proofs_of(bot := create_bot(settings.bot, house.parts), house.scheduler)) as health,
        open_monitor(settings.operator, bot, [health.route()]),
        Reloader(find, settings, lambda changed: put_into_use(changed, house, bot)).listening(),
    ):
        loop = asyncio.get_running_loop()
        running = asyncio.create_task(bot.start(token))
        closing: list[asyncio.Task[None]] = []
        for stop in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows has no signal handlers on its loops
                loop.add_signal_handler(stop, lambda: closing.append(loop.create_task(bot.close())))
        house.scheduler.add("read back", bot.reconciler.look_thoroughly, 86400.0)
        house.scheduler.start()
        try:
            await running
        except (OSError, discord.DiscordException) as exc:  # aiohttp's connection errors are OSErrors
            raise DiscordRefused(_why(exc)) from exc
        finally:
            await bot.close()
            await asyncio.gather(*closing)


def _why(exc: Exception) -> str:
    """Say why Discord did not let the bot in, and what to do."""
    match exc:
        case discord.LoginFailure():
            return "Discord refused the token; copy a fresh one from the developer portal"
        case discord.PrivilegedIntentsRequired():
            return (
                "message_content = true needs the message-content intent: switch it on in the Discord"
                " developer portal (Bot, Privileged Gateway Intents), or set it to false"
            )
        case discord.HTTPException():
            return f"Discord answered {exc.status} (code {exc.code}); try again later, or make a new token"
        case discord.ConnectionClosed():
            return f"Discord closed the connection (code {exc.code}); 4004 means that the token is not valid"
        case _:
            return f"Discord cannot be reached ({exc}); check the network, then start again"


def _play(settings: Settings, port: int) -> None:
    logging.getLogger("discord.state").setLevel(logging.ERROR)  # simcord tries one without intents
    try:
        from bot.app.playground import play  # simcord is an extra
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"the playground needs the package {exc.name}: run `make install`,"
            " or pip install 'simpatico[playground]'"
        ) from exc
    asyncio.run(play(settings, port))


def command_parser() -> argparse.ArgumentParser:
    """Every command and option there is."""
    parser = argparse.ArgumentParser(
        prog="simpatico",
        description="A Discord bot that learns what each member likes. Without a command it joins Discord"
        " when a token is at hand, and opens the playground otherwise.",
    )
    parser.add_argument("--version", action="version", version=f"simpatico {version('simpatico')}")
    parser.add_argument(
        "--config", type=Path, help="a config.toml; by default the one in this folder, if any"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log more (never texts, names or ids)")
    parser.add_argument(
        "--port", type=int, default=0, help="port of the playground on 127.0.0.1; 0 takes a free one"
    )
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="join Discord, or open the playground without a token")
    commands.add_parser(
        "playground", help="open the playground: the bot in a simulated Discord, in the browser"
    )
    commands.add_parser("models", help="prepare the language model and leave")
    commands.add_parser("doctor", help="look at everything a start needs, change nothing, and say what to do")
    completion.add_arguments(
        commands.add_parser("completion", help="print the completion script for a shell")
    )
    commands.add_parser("failpoints", help="list the moments at which a test may kill the program")
    add_arguments(
        commands.add_parser("evaluate", help="measure how well heads rank, on a folder of judgements")
    )
    adapting.add_arguments(
        commands.add_parser("adapt-encoder", help="adapt the shared encoder on a folder of judgements")
    )
    tuning.add_arguments(
        commands.add_parser("tune", help="search the settings of the prior on a folder of judgements")
    )
    add_fitting_arguments(
        commands.add_parser("fit-starter", help="fit the prior that ships, on judgements of chatbots")
    )
    reporting.add_arguments(
        commands.add_parser(
            "report",
            help="estimate from the bot's own log what personalization brings (SQLite: stop the bot first)",
        )
    )
    add_keeping_commands(commands)
    return parser


def _config_path(given: Path | None) -> Path | None:
    default = Path("config.toml")
    return given if given is not None else default if default.exists() else None
