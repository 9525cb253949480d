"""The emergency stop: while it is set, the bot posts nothing, in any process on this database.

A leaf: imports only storage.
"""

from __future__ import annotations

import asyncio
import logging

from storage.database.notes import Notes
from storage.errors import StorageError
from storage.maintenance.audit_trail import Act, AuditTrail

log = logging.getLogger(__name__)

_PAUSED = "paused"


class Pausing:
    """Pauses the bot and lets it answer again; the decision is stored, so it survives a restart.

    Args:
        notes: Where the decision is stored.
        audit: Where the act is recorded.
    """

    def __init__(self, notes: Notes, audit: AuditTrail) -> None:
        self._notes, self._audit = notes, audit

    async def pause(self, paused: bool) -> None:
        """Stop posting; with False, answer again.

        Raises:
            StorageError: It cannot be stored.
        """
        await self._notes.put(_PAUSED, "yes" if paused else "no")
        await asyncio.to_thread(self._audit.note, Act.PAUSE if paused else Act.RESUME)

    async def is_paused(self) -> bool:
        """Return whether nothing may be posted. While the store does not answer, the bot keeps answering."""
        try:
            return await self._notes.of(_PAUSED) == "yes"
        except StorageError as exc:
            log.warning("cannot read whether the bot is paused (%s); it keeps answering", type(exc).__name__)
            return False
