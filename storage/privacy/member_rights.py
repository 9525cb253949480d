"""A member's rights: view a summary, export, withdraw in one server, be forgotten everywhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from functools import partial

from storage.database.backend import BulkReader, Reader
from storage.keys.key_store import KeyStore
from storage.privacy import erasure_scopes
from storage.privacy.erasure_jobs import ErasureJobs, Evict
from storage.privacy.export import Exported, key_and_ledger_rows, members_of, page_keys, sealed_page
from storage.records import DataSummary, ForgetReceipt, MemberId, Who
from storage.replies import summaries


class MemberRights:
    """Summary, export, withdrawal and forgetting. Reached as ``Store.privacy``.

    Args:
        keys: Computes pseudonyms, and opens members' data.
        reader: Runs queries of few rows.
        bulk: Runs queries of many rows.
        erasures: Carries out erasures.
        now: The clock, aware UTC.
    """

    def __init__(
        self,
        keys: KeyStore,
        reader: Reader,
        bulk: BulkReader,
        *,
        erasures: ErasureJobs,
        now: Callable[[], datetime],
    ) -> None:
        self._keys, self._reader, self._bulk = keys, reader, bulk
        self._erasures, self._now = erasures, now

    async def forget(self, user_id: int, evict: Evict = lambda _: None) -> ForgetReceipt:
        """Delete everything of this person in every server; see :mod:`storage.privacy.erasing`. Idempotent.

        The learnt prior is deleted too, and every head that rested on it is due for training. Refusals of
        consent are kept.

        Args:
            user_id: Discord user id.
            evict: Called with the erased members, so that caches evict them.
        """
        scope = erasure_scopes.forget_scope(self._keys, self._keys.pseudonyms.person(user_id))
        return await self._erasures.run(scope, evict)

    async def refuse(self, who: Who, evict: Evict = lambda _: None) -> ForgetReceipt:
        """Record a refusal or a withdrawal: delete all data of this member in this server, keep the refusal.

        ``evict`` as in :meth:`forget`.
        """
        return await self._erasures.run(erasure_scopes.refusal_scope(self._keys, who, self._now()), evict)

    async def summary(self, who: Who) -> DataSummary:
        """Return counts of the data stored about this member in this server."""
        return await self._reader.run(lambda c: summaries.data_summary(c, self._keys, who))

    async def export(self, who: Who) -> list[tuple[MemberId, Exported]]:
        """Return all stored data of this person, decrypted, one entry per server, this server's first.

        Memory grows with the history; :meth:`export_pages` does without.
        """
        found: dict[MemberId, Exported] = {}
        async for member_id, page in self.export_pages(who):
            exported = found.setdefault(member_id, {})
            for table, rows in page.items():
                exported.setdefault(table, []).extend(rows)
        return list(found.items())

    async def export_pages(self, who: Who) -> AsyncGenerator[tuple[MemberId, Exported]]:
        """Yield all stored data of this person, decrypted, in pages of at most some hundred rows.

        The pages of a server follow each other, this server's first, and those of a table do. Each table has
        at least one page, which may be empty. Rows that are stored while this runs are left out.
        """
        here = self._keys.pseudonyms.member(who)
        person = self._keys.pseudonyms.person(who.user_id)
        member_ids = await self._reader.run(lambda c: members_of(c, person))
        keys = await self._reader.run(lambda _: self._keys.usable_keys_of(member_ids))
        for member_id in sorted(member_ids, key=lambda m: m != here):
            key = keys.get(member_id)
            for table, ids in await self._bulk.run(partial(page_keys, member_id=member_id)):
                sealed = await self._bulk.run(
                    partial(sealed_page, member_id=member_id, table=table, keys=ids)
                )
                yield member_id, await self._bulk.run_in_thread(partial(sealed.open, key))
            yield (
                member_id,
                await self._reader.run(lambda _, m=member_id: key_and_ledger_rows(self._keys, [m])),
            )
