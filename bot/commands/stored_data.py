"""Commands that look after the data: back up, restore, change the master key, forget a person.

Each answers with one line. They need no Discord and no model; which of them may run while the bot runs says
``simpatico COMMAND --help``.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.config import Settings
from storage.errors import AlreadyOpen
from storage.keys import rotation
from storage.maintenance import backup
from storage.records import ForgetReceipt
from storage.settings import StorageSettings
from storage.store import Store

KEYS_DAYS = 7
"""Days that a copy of the keys is good for, unless the operator says otherwise."""


def add_keeping_commands(commands: Any) -> None:
    """Add the commands to the parser's."""

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")

    def with_file(name: str, text: str, file: str) -> argparse.ArgumentParser:
        parser = command(name, text)
        parser.add_argument("file", type=Path, help=file)
        return parser

    new, copy = "where to write the copy; nothing may be there yet", "the copy"
    with_file("backup", "copy the data into a new file, while the bot may run", new)
    with_file("restore", "put a copy of the data back; the bot must be stopped", copy)
    with_file("backup-keys", "copy keys and erasure ledger into a new file, while the bot may run", new)
    keys = with_file("restore-keys", "put a copy of the keys back; the bot must be stopped", copy)
    keys.add_argument("--days", type=int, default=KEYS_DAYS, help="oldest copy that is taken")
    command("rotate-key", "change the master key, while the bot may run")
    ledger = command("ledger", "count what the erasure ledger holds")
    ledger.add_argument("--accept-loss", action="store_true", help="go on with an older ledger")
    command("forget", "forget a person in every server; the bot must be stopped").add_argument(
        "id", type=_discord_id, help="the person's Discord id"
    )


def run_keeping(arguments: argparse.Namespace, settings: Settings) -> bool:
    """Run the command if it is one of these.

    Raises:
        StorageError: It could not be done.
    """
    runs: dict[str, Callable[[argparse.Namespace, StorageSettings], str]] = {
        "backup": _back_up,
        "restore": _restore,
        "backup-keys": _back_up_keys,
        "restore-keys": _restore_keys,
        "rotate-key": _rotate,
        "ledger": _ledger,
        "forget": _forget,
    }
    run = runs.get(arguments.command)
    if run is None:
        return False
    print(run(arguments, settings.storage))
    return True


def _back_up(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    size = backup.back_up(settings, arguments.file)
    return f"Copied the data to {arguments.file} ({size:,} bytes). It opens nothing without the keys."


def _restore(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    erased = asyncio.run(backup.restore(settings, arguments.file))
    return f"Restored the data from {arguments.file}; {_again(len(erased.member_ids))}"


def _back_up_keys(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    backup.back_up_keys(settings, arguments.file)
    return (
        f"Copied keys and erasure ledger to {arguments.file}. Keep it apart from copies of the data and from"
        f" the master key, and delete it within {KEYS_DAYS} days: it opens what people ask to have forgotten."
    )


def _restore_keys(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    longest = timedelta(days=arguments.days)
    destroyed = asyncio.run(backup.restore_keys(settings, arguments.file, longest))
    return f"Restored the keys from {arguments.file}; {_again(destroyed)}"


def _again(count: int) -> str:
    return f"erased again whoever was forgotten since it was made: {count}."


def _rotate(_: argparse.Namespace, settings: StorageSettings) -> str:
    count = asyncio.run(rotation.rotate(settings))
    return f"A new master key wraps the keys of {count} members; the old one opens nothing any more."


def _ledger(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    if arguments.accept_loss:
        asyncio.run(backup.accept_ledger_loss(settings))
        return (
            "The data take the ledger as it is. Whoever was forgotten since may come back with older copies."
        )
    erased, refused = backup.ledger_counts(settings)
    return f"{erased} destroyed keys, {refused} members who said no."


def _forget(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    try:
        return receipt_in_words(asyncio.run(_forget_person(arguments.id, settings)))
    except AlreadyOpen as exc:
        raise AlreadyOpen(
            "The bot runs: the person can use /forget-me there; or stop it, and repeat this command."
        ) from exc


async def _forget_person(user_id: int, settings: StorageSettings) -> ForgetReceipt:
    async with await Store.open(settings) as store:
        return await store.privacy.forget(user_id)


def receipt_in_words(receipt: ForgetReceipt) -> str:
    """What went, and what the look afterwards found."""
    looked = "tables and files" if receipt.files_searched else "the tables"
    found = f"{receipt.n_traces} traces were FOUND" if receipt.n_traces else f"nothing was found in {looked}"
    return (
        f"Deleted: {receipt.n_keys} keys, {receipt.n_replies} replies, {receipt.n_feedback} pieces of"
        f" feedback and {receipt.n_heads} models. Looked for the rest: {found}."
    )


def _discord_id(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**63:
        raise argparse.ArgumentTypeError("expected a Discord id, a number of 17 to 20 digits")
    return int(text)
