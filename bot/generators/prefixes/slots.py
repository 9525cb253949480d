"""Slots of llama.cpp that go on from one reading of a prompt.

llama.cpp copies the state of a slot (its tokens and their keys and values) only into a file and back. The
file is an anonymous one in memory, so words of members never reach a disk. Only Linux has such files
(``memfd_create``). Elsewhere, and if llama.cpp refuses, each slot reads the whole prompt.

The requests go to the port that llama.cpp opens in this process, which is locked with a random key.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
from typing import Any
from urllib.parse import urlsplit

from bot.generators.prefixes.kept import KeptPrefixes

log = logging.getLogger(__name__)

SAVE_PATH = "/proc/self/fd/"
"""Folder in which llama.cpp finds the anonymous files, by their numbers."""
_TIMEOUT_S = 60.0


class Slots:
    """The slots of one llama.cpp server.

    Args:
        address: Address of the server in this process; empty: nothing is shared.
        key: Its key.
        n: Number of slots.
    """

    def __init__(self, address: str, key: str, n: int) -> None:
        self._host, self._key, self.n = urlsplit(address).netloc, key, n
        self._shares = bool(address) and hasattr(os, "memfd_create")
        self._free: list[int] = []
        self.prefixes: KeptPrefixes[int] = KeptPrefixes(self._empty)

    def recall(self, prompt: str) -> None:
        """Put the beginning of a prompt that was read before into the first slot. Blocks."""
        _, file = self.prefixes.longest(prompt)
        if file is not None:
            self._do(0, "restore", file)

    def branch(self, prompt: str, n: int, *, since: int) -> None:
        """Keep what the first slot has read, and copy it into the next ``n`` - 1 slots. Blocks.

        Args:
            prompt: What it has read.
            n: Slots that go on from there.
            since: Epoch of :attr:`prefixes` when the reading began.
        """
        if not self._shares:
            return
        file = self._free.pop() if self._free else os.memfd_create("prefix")
        if not self._do(0, "save", file):
            self._empty(file)
            return
        for slot in range(1, min(n, self.n)):
            self._do(slot, "restore", file)
        self.prefixes.keep(prompt, file, since=since)

    def erase(self) -> None:
        """Empty all slots. Blocks until those that still write are done."""
        if self._host:
            for slot in range(self.n):
                self._do(slot, "erase")

    def close(self) -> None:
        """Drop what is kept, and the files. No other call may be running."""
        self.prefixes.stop()
        self.prefixes.clear()
        while self._free:
            os.close(self._free.pop())

    def _empty(self, file: int) -> None:
        """Drop the content of a file at once. Its number stays reserved, as llama.cpp may be opening it."""
        os.ftruncate(file, 0)
        self._free.append(file)

    def _do(self, slot: int, action: str, file: int | None = None) -> bool:
        """Run an action on a slot; return whether llama.cpp did it."""
        body: dict[str, Any] = {} if file is None else {"filename": str(file)}
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(self._host, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", f"/slots/{slot}?action={action}", json.dumps(body), headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as exc:
            log.warning("llama.cpp could not %s a slot (%s)", action, type(exc).__name__)
            return False
        finally:
            connection.close()
        if status != http.client.OK:
            log.warning("llama.cpp could not %s a slot (HTTP %d); each slot reads for itself", action, status)
        return status == http.client.OK
