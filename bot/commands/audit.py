"""``simpatico audit``: prints the record of administrative acts; ``--verify`` checks that it is unchanged."""

from __future__ import annotations

import argparse
from typing import Any

from bot.config import Settings
from storage.maintenance.audit_trail import AuditTrail, Entry


def add_parser(commands: Any) -> None:
    """Declare the command."""
    text = "print the record of administrative acts on this host, while the bot may run"
    parser = commands.add_parser("audit", help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--verify", action="store_true", help="print only whether the record is unchanged")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Check the chain and print the acts, oldest first.

    Raises:
        AuditBroken: A line was changed, dropped or reordered.
    """
    entries = AuditTrail(settings.storage).verify()
    if not arguments.verify:
        print("\n".join(map(_in_words, entries)) or "No administrative act is recorded.")
        return
    last = f", the last at {entries[-1].at:%Y-%m-%d %H:%M} UTC" if entries else ""
    print(f"The record is unchanged: {len(entries)} acts{last}. It lies in {settings.storage.data_dir}.")


def _in_words(entry: Entry) -> str:
    details = ", ".join(f"{name} {value}" for name, value in entry.details.items())
    return f"{entry.number:>5}  {entry.at:%Y-%m-%d %H:%M:%S} UTC  {entry.act:<13}  {details}".rstrip()
