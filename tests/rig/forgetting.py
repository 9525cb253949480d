"""A child process that is killed while it forgets: ``python -m tests.rig.forgetting FOLDER FAILPOINT``.

Plants a member whose traces are all known, prints every value that must be gone afterwards (one per line, in
hex), and forgets the member. The failpoint kills the process on the way.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from storage.failpoints import switch_on
from storage.store import Store
from tests.rig.planted import ALICE, plant, secrets_of, traces
from tests.unit.storage.given import settings_in


async def main(folder: Path, moment: str) -> None:
    """Plant the member, print the traces, forget."""
    async with await Store.open(settings_in(folder)) as store:
        await plant(store)
        gone = [form.value for form in traces(folder, store).forms] + secrets_of(folder, store)
        print("\n".join(value.hex() for value in gone), flush=True)
        switch_on(f"{moment}=kill")  # only now: opening a store passes the same failpoints
        await store.privacy.forget(ALICE.user_id)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
