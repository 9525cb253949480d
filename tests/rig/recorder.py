"""A child process that records reactions and reports which are acknowledged, until the test kills it.

At the same time it does everything else that writes, in a loop: a member agrees, gets a reply, reacts and
forgets; heads are stored; old texts expire, which also truncates the write-ahead log. Processes are forked
from a fork server that has imported everything once, which makes each start fast.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from storage.failpoints import switch_on
from storage.records import NewHead, Who
from storage.settings import StorageSettings
from storage.store import Store
from tests.unit.storage.given import posted, round_of, settings_in

MEMBERS = [Who(1, user) for user in range(1, 6)]
MESSAGES = [(100 + 2 * reply, 101 + 2 * reply) for reply in range(8)]
LEAVER = Who(1, 99)
READY = 0


def settings_of(folder: Path) -> StorageSettings:
    """Settings of a store in this folder; a file ``url`` in it holds the URL of a PostgreSQL database."""
    url = folder / "url"
    return settings_in(folder, url=url.read_text() if url.exists() else "")


def where(number: int) -> tuple[Who, int, str]:
    """Map the number of a reaction to its member, message and emoji."""
    chunks = [chunk for reply in MESSAGES for chunk in reply]
    return MEMBERS[number % len(MEMBERS)], chunks[number // 7 % len(chunks)], f"emoji:{number}"


async def _record(
    store: Store, numbers: list[int], rng: random.Random, say: Callable[[int], None], hasty: bool
) -> None:
    while True:
        numbers[0] += 1
        number = numbers[0]
        who, message_id, emoji = where(number)
        recording = asyncio.ensure_future(store.feedback.record_reaction(who, message_id, emoji, added=True))
        if hasty:
            await asyncio.sleep(0)
            say(number)
        assert await recording
        if not hasty:
            say(number)
        await asyncio.sleep(rng.random() / 500)


async def _all_else(store: Store) -> None:
    while True:
        await store.privacy.forget(LEAVER.user_id)
        await posted(store, LEAVER, 90)
        await store.feedback.record_reaction(LEAVER, 90, "👍", added=True)
        await store.feedback.record_reaction(LEAVER, MESSAGES[0][0], "👍", added=True)
        await round_of(store, *(NewHead(store.member_id(who), b"a head", 1) for who in (*MEMBERS, LEAVER)))
        await store.replies.expire_texts()


async def _main(folder: Path, seed: int, hasty: bool, say: Callable[[int], None]) -> None:
    rng = random.Random(seed)
    store = await Store.open(settings_of(folder))
    for who, messages in zip(MEMBERS * 2, MESSAGES, strict=False):
        if await store.replies.of_message(messages[0]) is None:
            await posted(store, who, *messages)
    numbers = [seed * 1_000_000]
    say(READY)
    recorders = (_record(store, numbers, rng, say, hasty) for _ in range(10))
    await asyncio.gather(_all_else(store), *recorders)


def _run(folder: Path, seed: int, failpoints: str, hasty: bool, pipe: Connection) -> None:
    switch_on(failpoints)
    asyncio.run(_main(folder, seed, hasty, lambda number: pipe.send_bytes(b"%d" % number)))


def started(folder: Path, seed: int, failpoints: str, hasty: bool) -> tuple[BaseProcess, Connection]:
    """Start a child process.

    Args:
        folder: Folder of the store.
        seed: Must differ between runs in the same folder.
        failpoints: Failpoints to switch on, in the format of the environment variable.
        hasty: Acknowledge before the commit.

    Returns:
        The process, and a pipe that sends :data:`READY` and then the number of each acknowledged reaction.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(folder, seed, failpoints, hasty, theirs))
    process.start()
    theirs.close()
    return process, ours
