"""Commands that maintain stored data: back up, restore, rotate the master key, forget a person.

Each prints one line. None needs Discord or a model. ``simpatico COMMAND --help`` says whether a command may
run while the bot runs.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from datetime import timedelta

from tqdm import tqdm

from bot.commands.declared import KEYS_DAYS
from bot.config import Settings
from storage.errors import AlreadyOpen
from storage.maintenance import backup, moving, moving_keys, restoring, rotation
from storage.maintenance.audit_trail import Act, AuditTrail
from storage.maintenance.restoring_keys import restore_keys
from storage.records import ForgetReceipt
from storage.settings import StorageSettings
from storage.store import Store
from storage.wording import counted

THERE_ALREADY = "They are there already; nothing was moved."

Work = Callable[[argparse.Namespace, StorageSettings], str]
"""Does the work of one command and returns the line to print."""


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Run one of the commands and print its result.

    Raises:
        StorageError: The command failed.
    """
    work = _WORK[arguments.command]
    print(said := work(arguments, settings.storage))
    if said != THERE_ALREADY and (work is not _ledger or arguments.accept_loss):
        options = {name: 1 for name in ("accept_ledger_loss",) if getattr(arguments, name, False)}
        AuditTrail(settings.storage).note(Act(arguments.command), **options)


def _back_up(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    size = backup.back_up(settings, arguments.file)
    return (
        f"Copied the data to {arguments.file} ({counted(size, 'byte')}). It opens nothing without the keys."
    )


def _restore(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    accept_loss: bool = arguments.accept_ledger_loss
    erased = asyncio.run(restoring.restore(settings, arguments.file, accept_loss=accept_loss))
    return f"Restored the data from {arguments.file}; {_again(len(erased.member_ids))}"


def _back_up_keys(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    asyncio.run(backup.back_up_keys(settings, arguments.file))
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
    step, n_keys, next_file = asyncio.run(rotation.rotate(settings))
    if step is rotation.Step.PREPARED:
        return (
            f"Wrote the next master key to {next_file}; it wraps nothing yet. Copy it to the key folder of"
            " every other host, then run `simpatico rotate-key` again here, and then on each of them."
        )
    if step is rotation.Step.CAUGHT_UP:
        return "The keys are wrapped by the next master key already; it is the present one here now."
    members = counted(n_keys, "member")
    return f"A new master key wraps the keys of {members}; the old one no longer opens anything."


def _ledger(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    if arguments.accept_loss:
        asyncio.run(restoring.accept_ledger_loss(settings))
        return "The older ledger is accepted. Members forgotten since then may come back with older copies."
    erased, refused = asyncio.run(backup.ledger_counts(settings))
    return f"{counted(erased, 'destroyed key')}, {counted(refused, 'member')} who refused."


def _move(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    if arguments.keys_to is not None:
        return _move_keys(settings, "" if arguments.keys_to == "files" else arguments.keys_to)
    url = "" if arguments.to == "sqlite" else arguments.to
    if url == settings.url:
        return THERE_ALREADY
    with tqdm(unit=" rows", disable=None) as bar:

        def progress(table: str, n_rows: int) -> None:
            bar.set_description(table)
            bar.update(n_rows)

        moved = asyncio.run(moving.move(settings, url, progress))
    return (
        f"Moved {counted(moved.n_rows, 'row')} from {moved.source} to {moved.target} and compared each."
        f" Now set [storage] url = {url!r} in config.toml. The old data are kept and marked as moved;"
        " delete them when all is well."
    )


def _move_keys(settings: StorageSettings, key_url: str) -> str:
    if key_url == settings.key_url:
        return THERE_ALREADY
    moved = asyncio.run(moving_keys.move_keys(settings, key_url))
    return (
        f"Moved {counted(moved.n_rows, 'row')} of keys and erasure ledger from {moved.source} to"
        f" {moved.target} and compared each; they are no longer in the old place. Now set [storage] key_url ="
        f" {key_url!r} in config.toml. Copies of the keys from before keep what members have deleted since:"
        " delete them in time."
    )


def _forget(arguments: argparse.Namespace, settings: StorageSettings) -> str:
    try:
        return receipt_in_words(asyncio.run(_forget_person(arguments.id, settings)))
    except AlreadyOpen as exc:
        if settings.url:  # a bot may run there beside this command; another command does
            raise
        raise AlreadyOpen(
            "The bot is running. The person can use /forget-me; or stop the bot and repeat this command."
        ) from exc


async def _forget_person(user_id: int, settings: StorageSettings) -> ForgetReceipt:
    async with await Store.open(settings, may_create=False) as store:
        return await store.privacy.forget(user_id)


def receipt_in_words(receipt: ForgetReceipt) -> str:
    """Say what was deleted and what the search afterwards found."""
    looked = "tables and files" if receipt.files_searched else "the tables"
    traces = counted(receipt.n_traces, "trace was FOUND", "traces were FOUND")
    found = traces if receipt.n_traces else f"nothing was found in {looked}"
    return (
        f"Deleted: {counted(receipt.n_keys, 'key')}, {counted(receipt.n_replies, 'reply', 'replies')},"
        f" {counted(receipt.n_feedback, 'piece', 'pieces')} of feedback and"
        f" {counted(receipt.n_heads, 'model')}. Looked for the rest: {found}."
    )


_WORK: dict[str, Work] = {
    "backup": _back_up,
    "restore": _restore,
    "backup-keys": _back_up_keys,
    "restore-keys": _restore_keys,
    "rotate-key": _rotate,
    "ledger": _ledger,
    "move": _move,
    "forget": _forget,
}
