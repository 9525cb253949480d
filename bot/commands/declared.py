"""Declares the commands for the host of a bot, in the order of ``simpatico --help``.

A declaration imports nothing heavy: the module of a command is imported when the command runs. So
``--version`` and ``--help`` answer at once, and a command works where a package that it does not need is
broken.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Protocol

from bot.catalogue import names
from bot.commands import later
from bot.settings import REPORT_DAYS

SHELLS = ("bash", "zsh", "fish")
KEYS_DAYS = 7
"""Greatest age of a copy of the keys that ``restore-keys`` accepts by default, days."""

_MOST_DAYS = 36500


class _Declare(Protocol):
    """Declares one command: its name, its help text, and the module that does the work."""

    def __call__(
        self, name: str, text: str, module: str, *, signals: bool = False
    ) -> argparse.ArgumentParser: ...


def add_for_hosts(commands: Any, whole: argparse.ArgumentParser) -> None:
    """Declare the commands and their arguments.

    Args:
        commands: The sub-parsers of ``simpatico``.
        whole: The parser of ``simpatico``, whose commands and options ``completion`` completes.
    """

    def command(name: str, text: str, module: str, *, signals: bool = False) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        parser.set_defaults(run=later(module, signals=signals))
        return parser

    command("run", "join Discord, or open the playground without a token", "join_discord", signals=True)
    command(
        "playground",
        "open the playground: the bot in a simulated Discord, in the browser",
        "playground",
        signals=True,
    )
    # It reads the configuration itself, because a mistake there is a finding.
    command(
        "doctor", "look at everything a start needs, change nothing, and say what to do", "doctor"
    ).set_defaults(run_unconfigured=later("doctor"))
    command(
        "upgrade-check",
        "say what a start of this version would change in the data, without changing anything",
        "doctor",
    ).set_defaults(run_unconfigured=later("doctor"))
    command("example-config", "print an example of config.toml with every setting", "doctor").set_defaults(
        run_unconfigured=later("doctor")
    )
    command(
        "train",
        "train for the other processes on the same PostgreSQL database, without Discord",
        "train",
        signals=True,
    )
    _add_models(command)
    _add_stored_data(command)
    audit = command(
        "audit", "print the record of administrative acts on this host, while the bot may run", "audit"
    )
    audit.add_argument("--verify", action="store_true", help="print only whether the record is unchanged")
    _add_report(command)
    completion = command("completion", "print the completion script for a shell", "completion")
    completion.add_argument("shell", choices=SHELLS, help="the shell to complete in")
    completion.set_defaults(run_unconfigured=later("completion"), whole=whole)


def _add_models(command: _Declare) -> None:
    """Declare ``simpatico models`` and its own commands, ``list`` and ``get``."""
    models = command("models", "prepare the language model and leave; or list and get better ones", "models")
    models.set_defaults(action=None, name="")
    actions = models.add_subparsers(dest="action", metavar="COMMAND", title="commands")
    listing = "list better models, with licence, languages, memory and speed"
    actions.add_parser("list", help=listing, description=f"{listing.capitalize()}.")
    getting = "download a model of the list, and say how to use it"
    get = actions.add_parser("get", help=getting, description=f"{getting.capitalize()}.")
    get.add_argument(
        "name", choices=tuple(names()), type=str.lower, metavar="NAME", help=f"one of: {', '.join(names())}"
    )


def _add_stored_data(command: _Declare) -> None:
    """Declare the commands that maintain stored data."""

    def with_file(name: str, text: str, file: str) -> argparse.ArgumentParser:
        parser = command(name, text, "stored_data")
        parser.add_argument("file", type=Path, help=file)
        return parser

    new, copy = "where to write the copy; nothing may be there yet", "the copy"
    with_file("backup", "copy the data into a new file, while the bot may run", new)
    data = with_file("restore", "put a copy of the data back; the bot must be stopped", copy)
    data.add_argument(
        "--accept-ledger-loss", action="store_true", help="take a copy that has seen a newer erasure ledger"
    )
    with_file("backup-keys", "copy keys and erasure ledger into a new file, while the bot may run", new)
    keys = with_file("restore-keys", "put a copy of the keys back; the bot must be stopped", copy)
    keys.add_argument("--days", type=_days, default=KEYS_DAYS, help="oldest copy that is taken")
    command("rotate-key", "change the master key, while the bot may run", "stored_data")
    ledger = command("ledger", "count what the erasure ledger holds", "stored_data")
    ledger.add_argument("--accept-loss", action="store_true", help="go on with an older ledger")
    mover = command("move", "move data or keys to another database; the bot must be stopped", "stored_data")
    what = mover.add_mutually_exclusive_group(required=True)
    what.add_argument("--to", help="[storage] url of the new place of the data, or: sqlite")
    what.add_argument("--keys-to", help="[storage] key_url of the new place of the keys, or: files")
    forget = command("forget", "forget a person in every server; the bot must be stopped", "stored_data")
    forget.add_argument("id", type=_discord_id, help="the person's Discord id")


def _add_report(command: _Declare) -> None:
    """Declare ``simpatico report``."""
    parser = command(
        "report",
        "estimate from the bot's own log what personalization brings (SQLite: stop the bot first)",
        "report",
    )
    parser.add_argument(
        "--days", type=int, default=REPORT_DAYS, help=f"how far back to look (default {REPORT_DAYS})"
    )
    parser.add_argument("--json", type=Path, dest="json_path", help="write the figures there")


def _days(text: str) -> int:
    if not text.isdecimal() or int(text) > _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"expected a number of days, 0 to {_MOST_DAYS}")
    return int(text)


def _discord_id(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**63:
        raise argparse.ArgumentTypeError("expected a Discord id, a number of 17 to 20 digits")
    return int(text)
