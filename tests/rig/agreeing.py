"""A child process that registers new members without end, until the test kills it.

Arguments: folder and seed. Each line on stdout is the number of one member who agreed, got a reply and
reacted, with the reaction acknowledged; a line is one write. Every few members it clears the cached keys, so
that they are read from disk again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from storage.records import Who
from storage.store import Store
from tests.unit.storage.given import posted, settings_in

FORGETFUL = 5


def member(number: int) -> Who:
    return Who(1, number)


async def main(folder: Path, seed: int) -> None:
    store = await Store.open(settings_in(folder))
    os.write(1, b"0\n")
    for number in count(seed * 1_000_000 + 1):
        await posted(store, member(number), number)
        assert await store.feedback.record_reaction(member(number), number, "👍", added=True)
        if number % FORGETFUL == 0:
            store._keys._opened.clear()
            before = member(number - 1)
            if number - 1 > seed * 1_000_000:
                assert (await store.replies.latest(before)).reactions == ("👍",)
        os.write(1, f"{number}\n".encode())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
