"""Makes the file of ``/my-data``, with everything kept about a member, and its summary.

No discord import. Nothing of the file is kept or logged. The file grows with the member's history, so it is
made in a thread, one file at a time, within a deadline.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from bot.languages import mark, tr
from personalization.insight.taste import TasteReader
from personalization.labels.labels import Label
from storage.privacy.export import WORDS, Exported
from storage.records import ReplyId, Who
from storage.store import Store

WITHIN_S = 600.0
"""Longest time for a file, with the wait for others, seconds; Discord takes an answer for 15 minutes."""
PART_BYTES = 8 * 2**20
"""Discord takes files of 10 MiB."""
BESIDE = mark(
    "Also in the file: choices between two answers ({n_preferences}) and private notes about replies"
    " ({n_remarks})."
)
HOW_TO_READ = (
    "servers: one entry for each server, direct messages included; the first is where you asked. Names in"
    " hex are keyed hashes of Discord ids. features are base64 of little-endian float32. state is your"
    " feedback as it stands; label is what training makes of it, from 0 (disliked) to 1 (liked), and weight"
    " how far it counts. choice is which of two answers you picked. body is the size of your model. Its"
    " weights are left out, and scores are rounded, because other members have a part in them."
    " Your key itself is not in here."
)


class FileUnderWay(Exception):
    """The member asks for a file while theirs is being made; wait for that one."""


class DataExport:
    """Makes the files, one at a time, so that memory holds one file however many members ask at once.

    Each member waits for one file at most, so that no member holds up the files of others.

    Args:
        store: Everything that is kept about a member.
        taste: Derives the labels of their feedback.
    """

    def __init__(self, store: Store, taste: TasteReader) -> None:
        self._store, self._taste = store, taste
        self._at_once = asyncio.Semaphore(1)
        self._under_way: set[int] = set()

    async def parts_for(self, who: Who, at: datetime) -> tuple[list[tuple[str, bytes]], str]:
        """Return (name, content) of each part of everything kept about a member, and a summary in words.

        Raises:
            FileUnderWay: A file for this member is being made.
            TimeoutError: The file was not made within :data:`WITHIN_S`.
        """
        if who.user_id in self._under_way:
            raise FileUnderWay
        self._under_way.add(who.user_id)
        try:
            async with asyncio.timeout(WITHIN_S), self._at_once:
                found = await self._store.privacy.export(who)
                labels = [await self._taste.labels(member_id) for member_id, _ in found]
                servers = [exported for _, exported in found]
                return await asyncio.to_thread(_parts_and_summary, servers, labels, at)
        finally:
            self._under_way.discard(who.user_id)


def _parts_and_summary(
    servers: Sequence[Exported], labels: Sequence[Mapping[ReplyId, Label]], at: datetime
) -> tuple[list[tuple[str, bytes]], str]:
    """Write the file and its summary. Blocks, for as long as the history is; call from a thread."""
    for exported, of_member in zip(servers, labels, strict=True):
        _make_readable(exported, of_member)
    content = {
        "made_at": at.isoformat(),
        "how_to_read": HOW_TO_READ,
        "columns": {f"{table}.{column}": what for (table, column), what in WORDS.items()},
        "servers": servers,
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    return list(parts_of(text.encode())), summary_of(servers)


def _make_readable(exported: Exported, labels: Mapping[ReplyId, Label]) -> None:
    """Add the label of each feedback to the exported rows."""
    for row in exported["feedback"]:
        label = labels.get(ReplyId(row["reply_id"]))
        row["label"], row["weight"] = (label.value, label.weight) if label else (None, None)


def summary_of(servers: Sequence[Exported]) -> str:
    """Describe the content of the file."""
    if not servers:
        return tr("I keep nothing about you, in any server.")

    def count(table: str) -> int:
        return sum(len(server[table]) for server in servers)

    texts = sum(row["texts"] is not None for server in servers for row in server["replies"])
    agreed = sum(row["standing"] == "agreed" for server in servers for row in server["members"])
    n_replies, n_feedback, n_heads = map(count, ("replies", "feedback", "heads"))
    said = tr(
        "This is everything I keep about you, from servers and direct messages: {places}, of which you"
        " agreed in {agreed}.\n"
        "My replies to you: {replies} ({texts} with their text). Your feedback, with the labels I make"
        " of it: {feedback}. Models of your taste, without their shared weights: {heads}.",
        places=len(servers),
        agreed=agreed,
        replies=n_replies,
        texts=texts,
        feedback=n_feedback,
        heads=n_heads,
    )
    n_preferences, n_remarks = count("preferences"), count("remarks")
    if not n_preferences and not n_remarks:
        return said
    return f"{said} {tr(BESIDE, n_preferences=n_preferences, n_remarks=n_remarks)}"


def parts_of(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Split the file for Discord's size limit: plain, or compressed, or compressed in several parts."""
    if len(content) <= PART_BYTES:
        yield "my-data.json", content
        return
    packed = gzip.compress(content, mtime=0)
    pieces = [packed[start : start + PART_BYTES] for start in range(0, len(packed), PART_BYTES)]
    for number, piece in enumerate(pieces, start=1):
        yield "my-data.json.gz" + (f".{number:03}" if len(pieces) > 1 else ""), piece
