"""Runs erasures alone in the writer, and updates the counter that other processes check.

:mod:`storage.privacy.erasing` describes the steps and their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from storage.coordination import Coordination
from storage.database.writer import Writer
from storage.privacy.erasing import Eraser, ErasureScope
from storage.records import ForgetReceipt, MemberId

Evict = Callable[[Sequence[MemberId]], None]
"""Called with the erased members once nothing of theirs is read from the store, so that caches evict them."""


class ErasureJobs:
    """Submits erasures to the writer.

    Args:
        writer: Runs each erasure alone, between other changes.
        eraser: Carries out the steps.
        coordination: Other processes on the same data.
    """

    def __init__(self, writer: Writer, eraser: Eraser, coordination: Coordination) -> None:
        self._writer, self._eraser, self._coordination = writer, eraser, coordination

    async def run(self, scope: ErasureScope, evict: Evict) -> ForgetReceipt:
        """Erase the members in ``scope``."""

        async def job(connection: AsyncConnection) -> ForgetReceipt:
            with self._coordination.erasing():
                receipt = await self._eraser.carry_out(
                    connection, scope, empty_log=self._writer.empty_log, evict=evict
                )
                async with connection.begin():
                    await connection.run_sync(self._coordination.no_erasure_since, None)
            return receipt

        return await self._writer.submit_alone(job)
