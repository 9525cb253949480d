"""The emergency stop: while it is set, the bot posts nothing, in any process on this database.

A leaf: imports only storage.
"""

from __future__ import annotations

import logging

from storage.database.notes import Notes
from storage.errors import StorageError

log = logging.getLogger(__name__)

_PAUSED = "paused"


class Pausing:
    """Pauses the bot and lets it answer again; the decision is stored, so it survives a restart.

    Args:
        notes: Where the decision is stored.
    """

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    async def pause(self, paused: bool) -> None:
        """Stop posting; with False, answer again.

        Raises:
            StorageError: It cannot be stored.
        """
        await self._notes.put(_PAUSED, "yes" if paused else "no")

    async def is_paused(self) -> bool:
        """Return whether nothing may be posted. While the store does not answer, the bot keeps answering."""
        try:
            return await self._notes.of(_PAUSED) == "yes"
        except StorageError as exc:
            log.warning("cannot read whether the bot is paused (%s); it keeps answering", type(exc).__name__)
            return False
