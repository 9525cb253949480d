"""The ``simpatico`` command: builds the argument parser, sets up logging, runs the chosen sub-command.

A failure to start is one readable line on standard error and an exit code: 2 for the configuration, 3 for
data or keys, 4 for a model or a package that cannot be imported, 5 for Discord.

Nothing heavy is imported here, no model library, no database and no configuration: the chosen command imports
what it needs. So ``--version`` and ``--help`` answer at once, and other commands work where a package is
broken.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from bot.app.logs import set_up_logging
from bot.catalogue import MODEL_VARIABLE
from bot.commands import later
from bot.commands.declared import add_for_hosts
from bot.commands.declared_experiments import add_experiments
from bot.commands.parsing import CommandParser, Parser, common_options

_CREATE_A_STORE = frozenset({None, "run", "playground"})
_NEED_NO_STORE = frozenset(
    {
        "models",
        "doctor",
        "upgrade-check",
        "example-config",
        "completion",
        "failpoints",
        "evaluate",
        "adapt-encoder",
        "compress-encoder",
        "tune",
        "fit-starter",
    }
)
_BRING_A_STORE = frozenset({"restore", "restore-keys"})
"""They check what they need before they create anything."""
MAY_LACK_A_STORE = _CREATE_A_STORE | _NEED_NO_STORE | _BRING_A_STORE
"""Every other command refuses a folder without a store, so that a wrong folder is noticed."""

EXIT_CONFIG, EXIT_STORAGE, EXIT_MODEL, EXIT_DISCORD = 2, 3, 4, 5


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a locale without UTF-8 must not end a command
            stream.reconfigure(errors="backslashreplace")
    arguments = command_parser().parse_args(argv)
    set_up_logging(verbose=arguments.verbose)
    try:
        return _run(arguments)
    except Exception as exc:  # boundary: a package that cannot be imported raises anything
        from personalization.loading_errors import broken_package

        if (broken := broken_package(exc)) is not None:
            print(f"simpatico: {broken}", file=sys.stderr)
            return EXIT_MODEL
        for kind, code in _failures():
            if isinstance(exc, kind):
                print(f"simpatico: {exc}", file=sys.stderr)
                return code
        raise


def _run(arguments: argparse.Namespace) -> int:
    """Run the chosen command with what it needs, and return its exit code."""
    if arguments.model:  # for the whole process: a running bot reads its configuration again
        os.environ[MODEL_VARIABLE] = arguments.model
    if "run_unconfigured" in arguments:
        return arguments.run_unconfigured(arguments)
    from bot.config import config_path, load_settings

    settings = load_settings(config_path(arguments.config))
    if arguments.command not in MAY_LACK_A_STORE:
        from storage.opening import require_store

        require_store(settings.storage)
    arguments.run(arguments, settings)
    return 0


def _failures() -> tuple[tuple[type[Exception], int], ...]:
    """Return the exit code of each kind of failure; the first match counts."""
    from bot.commands import DiscordRefused
    from bot.config import ConfigError
    from bot.generation import GeneratorError
    from bot.moderation import ToxicityError
    from personalization.errors import DatasetBroken, EncoderError, PluginBroken, StarterFailed
    from storage.errors import StorageError

    return (
        (ConfigError, EXIT_CONFIG),
        (DatasetBroken, EXIT_CONFIG),
        (StorageError, EXIT_STORAGE),
        (StarterFailed, EXIT_STORAGE),
        (EncoderError, EXIT_MODEL),
        (PluginBroken, EXIT_MODEL),
        (GeneratorError, EXIT_MODEL),
        (ToxicityError, EXIT_MODEL),
        (DiscordRefused, EXIT_DISCORD),
        (OSError, EXIT_STORAGE),  # a folder that cannot be created or written; the message names it
    )


def command_parser() -> Parser:
    """Build the parser of all commands and options."""
    parser = Parser(
        prog="simpatico",
        description="A Discord bot that learns what each member likes. Without a command it joins Discord"
        " when a token is at hand, and opens the playground otherwise.",
        parents=[common_options(defaults=True)],
    )
    parser.set_defaults(run=later("join_discord", signals=True))  # when no command is given
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=CommandParser
    )
    add_for_hosts(commands, parser)
    add_experiments(commands)
    return parser
