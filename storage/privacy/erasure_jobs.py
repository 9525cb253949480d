"""Runs erasures in the writer, and updates the counter that other processes check.

:mod:`storage.privacy.erasing` describes the steps and their order. Blanking the choices of a large store
takes seconds, so an erasure gives way to other units between its pieces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from storage.coordination import Coordination
from storage.database.writer import Writer
from storage.privacy.erasing import Eraser
from storage.privacy.erasure_scopes import ErasureScope
from storage.records import ForgetReceipt, MemberId

T = TypeVar("T")

Evict = Callable[[Sequence[MemberId]], None]
"""Called with the erased members once nothing of theirs is read from the store, so that caches evict them."""


class ErasureJobs:
    """Submits erasures to the writer, one at a time.

    Args:
        writer: Runs each part of an erasure alone, between other changes.
        eraser: Carries out the steps.
        coordination: Other processes on the same data.
    """

    def __init__(self, writer: Writer, eraser: Eraser, coordination: Coordination) -> None:
        self._writer, self._eraser, self._coordination = writer, eraser, coordination
        self._one = asyncio.Lock()  # two at once would share one receipt

    async def run(self, scope: ErasureScope, evict: Evict) -> ForgetReceipt:
        """Erase the members in ``scope``. Once begun, it is carried out although the caller is cancelled."""
        return await asyncio.shield(asyncio.ensure_future(self._run(scope, evict)))

    async def _run(self, scope: ErasureScope, evict: Evict) -> ForgetReceipt:
        async with self._one:
            begun = await self._alone(partial(self._eraser.begin, scope=scope, evict=evict))
            while await self._writer.submit_alone(partial(self._eraser.blank, begun=begun)):
                pass
            finish = partial(self._eraser.finish, begun=begun, empty_log=self._writer.empty_log)
            return await self._alone(finish)

    async def _alone(self, part: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run a part that moves the counter of erasures, and take over the new count."""

        async def job(connection: AsyncConnection) -> T:
            with self._coordination.erasing():
                result = await part(connection)
                async with connection.begin():
                    await connection.run_sync(self._coordination.no_erasure_since, None)
            return result

        return await self._writer.submit_alone(job)
