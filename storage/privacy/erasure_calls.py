"""What the store does when somebody leaves: a member, a person in every server, or a server with all in it.

The part of :class:`storage.store.Store` that carries out wishes to be forgotten. In what order, and why it
holds however it is cut short, stands in :mod:`storage.privacy.erasing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from storage.coordination import Company
from storage.database.backend import BulkReader, Reader
from storage.database.writer import Writer
from storage.keys.key_store import KeyStore
from storage.learning.learning_records import Lessons
from storage.privacy import departures
from storage.privacy import erasing as rights
from storage.records import ForgetReceipt, MemberId, Who

LetGo = Callable[[Sequence[MemberId]], None]


class Farewells(Lessons):
    """Lets members and servers go.

    Args:
        keys: Names members, and destroys their keys.
        writer: Applies changes.
        reader: Runs queries of few rows.
        bulk: Runs queries of many rows.
        company: Other processes on the same data.
        now: The clock, aware UTC.
        eraser: Carries out wishes.
    """

    def __init__(
        self,
        keys: KeyStore,
        writer: Writer,
        reader: Reader,
        bulk: BulkReader,
        company: Company,
        *,
        now: Callable[[], datetime],
        eraser: rights.Eraser,
    ) -> None:
        super().__init__(keys, writer, reader, bulk, company)
        self._now = now
        self._eraser = eraser

    async def forget(self, user_id: int, let_go: LetGo = lambda _: None) -> ForgetReceipt:
        """Delete everything of this person in every server; see :mod:`storage.privacy.erasing`. Idempotent.

        The learnt prior goes too, and every head that rested on it is due. What the person said no to stays
        a no.

        Args:
            user_id: Discord user id.
            let_go: Called with the members that leave, as soon as nothing of them is read any more: memory
                lets go of them then.
        """
        return await self._erase(rights.forgetting(self._keys, self._keys.pseudonyms.person(user_id)), let_go)

    async def record_refusal(self, who: Who, let_go: LetGo = lambda _: None) -> ForgetReceipt:
        """Record a no, or a withdrawal: delete all of this member in this server and remember the no.

        ``let_go`` as in :meth:`forget`.
        """
        return await self._erase(rights.refusing(self._keys, who, self._now()), let_go)

    async def record_departure(self, guild_id: int) -> None:
        """The bot was removed from a server: its data go after :data:`~storage.privacy.departures.GRACE`."""
        guild = self._keys.pseudonyms.guild(Who(guild_id, 0))
        await self._change(lambda c: departures.depart(c, guild, self._now()))

    async def record_servers(self, guild_ids: Iterable[int]) -> None:
        """These are all the servers that the bot is in, reachable or not; others of before were left."""
        present = {self._keys.pseudonyms.guild(Who(guild_id, 0)) for guild_id in guild_ids}
        await self._change(lambda c: departures.see_servers(c, present, self._now()))

    async def record_return(self, guild_id: int) -> None:
        """The bot is in this server, again or for the first time."""
        guild = self._keys.pseudonyms.guild(Who(guild_id, 0))
        await self._change(lambda c: departures.come_back(c, guild))

    async def erase_departed(self, let_go: LetGo = lambda _: None) -> ForgetReceipt | None:
        """Delete all data of servers that were left long enough ago; None when there are none.

        ``let_go`` as in :meth:`forget`.
        """
        before = self._now() - departures.GRACE
        if not await self._reader.run(lambda c: departures.departed(c, before)):
            return None
        return await self._erase(departures.departing(self._keys, before), let_go)

    async def _erase(self, parting: rights.Parting, let_go: LetGo) -> ForgetReceipt:
        async def job(connection: AsyncConnection) -> ForgetReceipt:
            receipt = await self._eraser.carry_out(
                connection, parting, empty_log=self._writer.empty_log, let_go=let_go
            )
            async with connection.begin():
                await connection.run_sync(self.company.nobody_left, None)
            return receipt

        return await self._writer.submit_alone(job)
