"""``simpatico failpoints``: list the moments at which a test may kill the program."""

from __future__ import annotations

import argparse
from typing import Any

from bot.config import Settings
from storage.failpoints import FAILPOINTS


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("failpoints", help="list the moments at which a test may kill the program")
    parser.set_defaults(run=run)


def run(_: argparse.Namespace, __: Settings) -> None:
    """Print name and moment of every failpoint."""
    for name, moment in FAILPOINTS.items():
        print(f"{name:28} {moment}")
