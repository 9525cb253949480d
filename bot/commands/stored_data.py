"""Commands that maintain stored data: back up, restore, rotate the master key, forget a person.

Each prints one line. None needs Discord or a model. ``simpatico COMMAND --help`` says whether a command may
run while the bot runs.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bot.config import Settings
from storage.errors import AlreadyOpen
from storage.maintenance import backup, moving, restoring, rotation
from storage.maintenance.audit_trail import Act, AuditTrail
from storage.maintenance.restoring_keys import restore_keys
from storage.records import ForgetReceipt
from storage.settings import StorageSettings
from storage.store import Store

KEYS_DAYS = 7
"""Greatest age of a copy of the keys that ``restore-keys`` accepts by default, days."""

MOST_DAYS = 36500

THERE_ALREADY = "The data are there already; nothing was moved."

Work = Callable[[argparse.Namespace, StorageSettings], str]
"""Does the work of one command and returns the line to print."""


def add_parsers(commands: Any) -> None:
    """Declare the commands and their arguments."""

    def command(name: str, text: str, work: Work) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        parser.set_defaults(run=partial(run, work))
        return parser

    def with_file(name: str, text: str, work: Work, file: str) -> argparse.ArgumentParser:
        parser = command(name, text, work)
        parser.add_argument("file", type=Path, help=file)
        return parser

    new, copy = "where to write the copy; nothing may be there yet", "the copy"
    with_file("backup", "copy the data into a new file, while the bot may run", _back_up, new)
    data = with_file("restore", "put a copy of the data back; the bot must be stopped", _restore, copy)
    data.add_argument(
        "--accept-ledger-loss", action="store_true", help="take a copy that has seen a newer erasure ledger"
    )
    with_file(
        "backup-keys",
        "copy keys and erasure ledger into a new file, while the bot may run",
        _back_up_keys,
        new,
    )
    keys = with_file(
        "restore-keys", "put a copy of the keys back; the bot must be stopped", _restore_keys, copy
    )
    keys.add_argument("--days", type=_days, default=KEYS_DAYS, help="oldest copy that is taken")
    command("rotate-key", "change the master key, while the bot may run", _rotate)
    ledger = command("ledger", "count what the erasure ledger holds", _ledger)
    ledger.add_argument("--accept-loss", action="store_true", help="go on with an older ledger")
    mover = command("move", "move the data to another database; the bot must be stopped", _move)
    mover.add_argument("--to", required=True, help="[storage] url of the new place, or: sqlite")
    forget = command("forget", "forget a person in every server; the bot must be stopped", _forget)
    forget.add_argument("id", type=_discord_id, help="the person's Discord id")


def run(work: Work, arguments: argparse.Namespace, settings: Settings) -> None:
    """Run one of the commands and print its result.

    Raises:
        StorageError: The command failed.
    """
    print(said := work(arguments, settings.storage))
    if said != THERE_ALREADY and (work is not _ledger or arguments.accept_loss):
        options = {name: 1 for name in ("accept_ledger_loss",) if getattr(arguments, name, False)}
        AuditTrail(settings.storage).note(Act(arguments.command), **options)


def _back_up(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    size = backup.back_up(settings, arguments.file)
    return f"Copied the data to {arguments.file} ({size:,} bytes). It opens nothing without the keys."


def _restore(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    accept_loss: bool = arguments.accept_ledger_loss
    erased = asyncio.run(restoring.restore(settings, arguments.file, accept_loss=accept_loss))
    return f"Restored the data from {arguments.file}; {_again(len(erased.member_ids))}"


def _back_up_keys(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    backup.back_up_keys(settings, arguments.file)
    return (
        f"Copied keys and erasure ledger to {arguments.file}. Keep it apart from copies of the data and from"
        f" the master key, and delete it within {KEYS_DAYS} days: it still opens the data of people who"
        " ask to be forgotten."
    )


def _restore_keys(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    longest = timedelta(days=arguments.days)
    destroyed = asyncio.run(restore_keys(settings, arguments.file, longest))
    return f"Restored the keys from {arguments.file}; {_again(destroyed)}"


def _again(count: int) -> str:
    return f"members forgotten since the copy was made, erased again: {count}."


def _rotate(_: argparse.Namespace, settings: StorageSettings) -> str:
    count = asyncio.run(rotation.rotate(settings))
    return f"A new master key wraps the keys of {count} members; the old one no longer opens anything."


def _ledger(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    if arguments.accept_loss:
        asyncio.run(restoring.accept_ledger_loss(settings))
        return "The older ledger is accepted. Members forgotten since then may come back with older copies."
    erased, refused = backup.ledger_counts(settings)
    return f"{erased} destroyed keys, {refused} members who refused."


def _move(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    url = "" if arguments.to == "sqlite" else arguments.to
    if url == settings.url:
        return THERE_ALREADY
    with tqdm(unit=" rows", disable=None) as bar:

        def progress(table: str, n_rows: int) -> None:
            bar.set_description(table)
            bar.update(n_rows)

        moved = asyncio.run(moving.move(settings, url, progress))
    return (
        f"Moved {moved.n_rows:,} rows from {moved.source} to {moved.target} and compared each. Now set"
        f" [storage] url = {url!r} in config.toml. The old data are kept and marked as moved;"
        " delete them when all is well."
    )


def _forget(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    try:
        return receipt_in_words(asyncio.run(_forget_person(arguments.id, settings)))
    except AlreadyOpen as exc:
        raise AlreadyOpen(
            "The bot is running. The person can use /forget-me; or stop the bot and repeat this command."
        ) from exc


async def _forget_person(user_id: int, settings: StorageSettings) -> ForgetReceipt:
    async with await Store.open(settings, may_create=False) as store:
        return await store.privacy.forget(user_id)


def receipt_in_words(receipt: ForgetReceipt) -> str:
    """Say what was deleted and what the search afterwards found."""
    looked = "tables and files" if receipt.files_searched else "the tables"
    found = f"{receipt.n_traces} traces were FOUND" if receipt.n_traces else f"nothing was found in {looked}"
    return (
        f"Deleted: {receipt.n_keys} keys, {receipt.n_replies} replies, {receipt.n_feedback} pieces of"
        f" feedback and {receipt.n_heads} models. Looked for the rest: {found}."
    )


def _days(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_DAYS:
        raise argparse.ArgumentTypeError(f"expected a number of days, 0 to {MOST_DAYS}")
    return int(text)


def _discord_id(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**63:
        raise argparse.ArgumentTypeError("expected a Discord id, a number of 17 to 20 digits")
    return int(text)
