"""``simpatico audit``: prints the record of administrative acts; ``--verify`` checks that it is unchanged."""

from __future__ import annotations

import argparse

from bot.config import Settings
from storage.maintenance.audit_trail import AuditTrail, Entry
from storage.wording import counted


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
    acts = counted(len(entries), "act")
    print(f"The record is unchanged: {acts}{last}. It lies in {settings.storage.data_dir}.")


def _in_words(entry: Entry) -> str:
    details = ", ".join(f"{name} {value}" for name, value in entry.details.items())
    return f"{entry.number:>5}  {entry.at:%Y-%m-%d %H:%M:%S} UTC  {entry.act:<13}  {details}".rstrip()
