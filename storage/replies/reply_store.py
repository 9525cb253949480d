"""Posted replies: records them, finds them, and expires their texts.

The statements are in :mod:`storage.replies.impressions` and :mod:`storage.replies.summaries`.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.backend import Reader
from storage.database.deletion_clock import DeletionClock
from storage.database.writer import Writer
from storage.keys.key_store import KeyStore
from storage.records import Impression, Place, ReplyId, ReplyReason, ReplySummary, Who
from storage.replies import impressions, summaries


class ReplyStore:
    """Records and reads posted replies. Reached as ``Store.replies``.

    Args:
        keys: Opens and seals.
        reader: Runs queries of few rows.
        writer: Applies changes.
        clock: Dates replies, and judges their age.
        retention: How long the texts of candidates are kept.
    """

    def __init__(
        self,
        keys: KeyStore,
        reader: Reader,
        writer: Writer,
        *,
        clock: DeletionClock,
        retention: timedelta,
    ) -> None:
        self._keys, self._reader, self._writer, self._clock = keys, reader, writer, clock
        self._retention = retention

    async def record(
        self, who: Who, place: Place, impression: Impression, *, under: bytes | None = None
    ) -> ReplyId:
        """Store a posted reply.

        Args:
            who: The asker.
            place: Location of the reply.
            impression: The decision.
            under: Number of the asker's key when the reply was decided; None: before any consent.

        Raises:
            NoConsent: The asker did not agree, or agreed anew since the reply was decided.
        """
        return await self._writer.submit(
            lambda c: impressions.record_impression(
                c, self._keys, who, place, impression, self._clock.now(), under
            )
        )

    async def of_message(self, message_id: int) -> ReplyId | None:
        """Return the stored reply that this message is a chunk of."""
        return await self._reader.run(lambda c: impressions.reply_of_message(c, self._keys, message_id))

    async def latest(self, who: Who, channel_id: int | None = None) -> ReplySummary | None:
        """Return the newest reply to this member, in one channel or anywhere in the server."""
        return await self._reader.run(lambda c: summaries.latest_reply(c, self._keys, who, channel_id))

    async def summary(self, who: Who, reply_id: ReplyId) -> ReplySummary | None:
        """Return a stored reply of this member's server, with the member's own feedback."""
        return await self._reader.run(lambda c: summaries.reply_summary(c, self._keys, who, reply_id))

    async def channel_of(self, who: Who, reply_id: ReplyId) -> int | None:
        """Return the id of the channel of a reply to this member; None where its place is not known."""
        return await self._reader.run(lambda c: summaries.channel_of(c, self._keys, who, reply_id))

    async def reason(self, who: Who, reply_id: ReplyId) -> ReplyReason | None:
        """Return why a reply to this member was chosen; None for other members and unstored replies."""
        return await self._reader.run(lambda c: impressions.reason_of(c, self._keys, who, reply_id))

    async def expire_texts(self) -> int:
        """Delete candidate texts older than the retention time; return the number of replies."""

        def expire(connection: Connection) -> int:
            return impressions.expire_texts(connection, self._clock.look(connection), self._retention)

        async def job(connection: AsyncConnection) -> int:
            async with connection.begin():
                count = await connection.run_sync(expire)
            await self._writer.empty_log()
            return count

        return await self._writer.submit_alone(job)
