"""Replaces the master key while the bot runs.

The steps: write the next key beside the present one; rewrap all keys in one transaction of the key store;
make the next key the present one. If a rotation is interrupted, one of the two keys opens the store, every
reader tries both (:class:`storage.keys.wrapping.Wrapping`), and the next rotation finishes the work. A
running bot detects the change by itself. Data keys do not change, so data stay as they are.

Keys in a database are shared by hosts, and each host has its own key file. There the first call writes the
next key. The host's operator copies it to the other hosts. The second call rewraps, and on the other hosts it
makes the next key the present one.

A key from the environment cannot change in a running process. In that case stop the bot, and pass the next
key as ``..._NEXT``. A command prints the next key on its second line.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from storage.errors import KeyMissing, StorageError
from storage.failpoints import failpoint
from storage.keys.key_store import KeyStore, place_of
from storage.keys.master_key import NEXT_ENV, NEXT_FILE, FromCommand, FromFile, source_of
from storage.keys.wrapping import derived
from storage.maintenance.exclusive import Exclusion, exclude_bots, exclude_key_commands
from storage.settings import StorageSettings


class Step(Enum):
    """What a call did."""

    REWRAPPED = auto()
    """The next master key wraps all keys."""
    PREPARED = auto()
    """The next master key was written; other hosts need it before it wraps anything."""
    CAUGHT_UP = auto()
    """Another host rewrapped the keys; the next key became the present one here."""


class Rotation(NamedTuple):
    """Result of a call.

    Attributes:
        step: What it did.
        n_keys: Members' keys that were rewrapped.
        next_file: File with the next key, on this host.
    """

    step: Step
    n_keys: int
    next_file: Path


async def rotate(settings: StorageSettings) -> Rotation:
    """Replace the master key, or do the step of it that is due on this host.

    Raises:
        AlreadyOpen: Another command changes the keys, or the key comes from the environment and a bot runs.
        KeyMissing: There is no key store, or the environment or the command holds no next key.
        KeyUnreadable: No available master key opens the key store.
        DatabaseFailed: The key store cannot be written to.
    """
    source, place = source_of(settings), place_of(settings)
    next_file = settings.key_dir / NEXT_FILE
    if not await place.is_there():
        raise KeyMissing(f"Expected a key store at {place.what}, found none.")
    async with AsyncExitStack() as stack:
        alone = Exclusion() if source.can_change else await exclude_bots(settings, stack)
        settings.key_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        await exclude_key_commands(settings, stack)
        keys = await KeyStore.open(settings, data_exists=True)
        stack.push_async_callback(keys.close)
        own = source if isinstance(source, FromFile) else None
        if own and await keys.wrapped_by_next():  # an earlier rotation ended before its last step
            own.use_next()
            if settings.key_url:
                return Rotation(Step.CAUGHT_UP, 0, next_file)
        _, master = source.keys()
        if own and (master is None or not settings.key_url):
            master = own.make_next()
            failpoint("rotate.after-next-key")
            if settings.key_url:
                return Rotation(Step.PREPARED, 0, next_file)
        if master is None:
            raise KeyMissing(_no_next(settings, is_command=isinstance(source, FromCommand)))
        await alone.require()
        try:
            count = await keys.rewrap(derived(master))
        except StorageError:
            # A commit that failed may still be on disk, so look before the next key is deleted.
            if own and not settings.key_url and not await keys.wrapped_by_next():
                own.drop_next()
            raise
        failpoint("rotate.after-commit")
        if own:
            own.use_next()
        return Rotation(Step.REWRAPPED, count, next_file)


def _no_next(settings: StorageSettings, *, is_command: bool) -> str:
    if is_command:
        return "[storage] master_key_command printed no second line; let it print the next master key there."
    name = settings.master_key_env + NEXT_ENV
    return f"The environment variable {name} is empty; set it to the next master key."
