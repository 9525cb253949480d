"""The ``simpatico`` command: builds the argument parser, sets up logging, runs the chosen sub-command.

A failure to start is one readable line on standard error and an exit code: 2 for the configuration, 3 for
data or keys, 4 for a model or a package that cannot be imported, 5 for Discord.

Nothing heavy is imported here: torch, transformers, numpy, matplotlib and discord are imported by the
commands that need them, when they run. So the other commands work without them, and start at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path

from bot.app.logs import set_up_logging
from bot.commands import (
    DiscordRefused,
    audit,
    completion,
    declared,
    doctor,
    failpoints,
    models,
    playground,
    stored_data,
)
from bot.config import ConfigError, config_path, load_settings
from bot.generation import GeneratorError
from bot.moderation import ToxicityError
from personalization.errors import DatasetBroken, EncoderError
from personalization.loading_errors import broken_package
from storage.errors import StorageError
from storage.opening import require_store

_CREATE_A_STORE = frozenset({None, "run", "playground"})
_NEED_NO_STORE = frozenset(
    {"models", "doctor", "completion", "failpoints", "evaluate", "adapt-encoder", "tune", "fit-starter"}
)
_BRING_A_STORE = frozenset({"restore", "restore-keys"})
"""They check what they need before they create anything."""
MAY_LACK_A_STORE = _CREATE_A_STORE | _NEED_NO_STORE | _BRING_A_STORE
"""Every other command refuses a folder without a store, so that a wrong folder is noticed."""

EXIT_CONFIG, EXIT_STORAGE, EXIT_MODEL, EXIT_DISCORD = 2, 3, 4, 5

_FAILURES: tuple[tuple[type[Exception], int], ...] = (
    (ConfigError, EXIT_CONFIG),
    (DatasetBroken, EXIT_CONFIG),
    (StorageError, EXIT_STORAGE),
    (EncoderError, EXIT_MODEL),
    (GeneratorError, EXIT_MODEL),
    (ToxicityError, EXIT_MODEL),
    (DiscordRefused, EXIT_DISCORD),
    (OSError, EXIT_STORAGE),  # a folder that cannot be created or written; the message names it
)
"""Exit code of each kind of failure; the first match counts."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a locale without UTF-8 must not end a command
            stream.reconfigure(errors="backslashreplace")
    arguments = command_parser().parse_args(argv)
    set_up_logging(verbose=arguments.verbose)
    try:
        if "run_unconfigured" in arguments:
            return arguments.run_unconfigured(arguments)
        settings = load_settings(config_path(arguments.config))
        if arguments.command not in MAY_LACK_A_STORE:
            require_store(settings.storage)
        arguments.run(arguments, settings)
    except Exception as exc:  # boundary: a package that cannot be imported raises anything
        if (broken := broken_package(exc)) is not None:
            print(f"simpatico: {broken}", file=sys.stderr)
            return EXIT_MODEL
        for kind, code in _FAILURES:
            if isinstance(exc, kind):
                print(f"simpatico: {exc}", file=sys.stderr)
                return code
        raise
    return 0


def command_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands and options."""
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
    parser.set_defaults(run=declared.run_bot)  # when no command is given
    commands = parser.add_subparsers(dest="command")
    declared.add_run(commands)
    playground.add_parser(commands)
    models.add_parser(commands)
    doctor.add_parser(commands)
    completion.add_parser(commands, parser)
    failpoints.add_parser(commands)
    declared.add_parsers(commands)
    stored_data.add_parsers(commands)
    audit.add_parser(commands)
    return parser
