"""Runs erasures alone in the writer, and follows them with the counter that other processes check.

The order of the steps, and why it holds however it is cut short, is in :mod:`storage.privacy.erasing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from storage.coordination import Coordination
from storage.database.writer import Writer
from storage.privacy.erasing import Eraser, ErasureScope
from storage.records import ForgetReceipt, MemberId

Evict = Callable[[Sequence[MemberId]], None]
"""Called with the members that are erased, once nothing of them is read from the store any more."""


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
        """Erase the members that ``scope`` names."""

        async def job(connection: AsyncConnection) -> ForgetReceipt:
            receipt = await self._eraser.carry_out(
                connection, scope, empty_log=self._writer.empty_log, evict=evict
            )
            async with connection.begin():
                await connection.run_sync(self._coordination.no_erasure_since, None)
            return receipt

        return await self._writer.submit_alone(job)
