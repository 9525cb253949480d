"""``simpatico failpoints``: list the moments at which a test may kill the program."""

from __future__ import annotations

import argparse

from bot.config import Settings
from storage.failpoints import FAILPOINTS


def run(_: argparse.Namespace, __: Settings) -> None:
    """Print name and moment of every failpoint."""
    for name, moment in FAILPOINTS.items():
        print(f"{name:28} {moment}")
