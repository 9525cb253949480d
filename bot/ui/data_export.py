"""Makes the file of ``/my-data``, with everything kept about a member, and its summary.

No discord import. Nothing of the file is kept or logged. The file grows with the member's history, so it is
written page by page in a thread, and leaves in parts that Discord takes: memory holds one page and one part,
however long the history is. One file is made at a time, within a deadline.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.languages import mark, sentences_of, tr
from personalization.insight.taste import TasteReader
from personalization.labels.labels import Label
from storage.privacy.export import WORDS, Exported
from storage.records import MemberId, Who
from storage.replies.feedback import FeedbackState
from storage.store import Store

WITHIN_S = 600.0
"""Longest time for a file, with its sending and the wait for others, seconds; Discord takes an answer for 15
minutes."""
PART_BYTES = 8 * 2**20
"""Largest part, unless Discord takes less: it takes files of 10 MiB."""
BESIDE = mark(
    "Also in the file: choices between two answers ({n_preferences}) and private notes about replies"
    " ({n_remarks})."
)
HOW_TO_READ = (
    "servers: one entry for each server, direct messages included; the first is where you asked. Names in"
    " hex are keyed hashes of Discord ids. features are base64 of little-endian float32. state is your"
    " feedback as it stands; label is what training makes of it, from 0 (disliked) to 1 (liked), and weight"
    " how far it counts. quotes is whether a reply may repeat words of your conversation; it is then no"
    " example for later replies. seat names what it was written under: style, model, learnt wish, and whether"
    " it was shown examples. choice is which of two answers you picked; replaced in it is what you picked"
    " before between the same two texts of the six taps, which an undo brings back; row is the number of the"
    " six taps in which you picked. body is the size of your"
    " model, and sure_of what it takes you to like, and how sure it is in percent. Its weights are left out,"
    " and scores and certainties are rounded, because other members have a part in them."
    " Your key itself is not in here."
)

_GZIP = 31
"""``wbits`` of zlib for the format of gzip."""

LabelOf = Callable[[Sequence[str], int | None], Label | None]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the file: its number from 1, its file name and its content."""

    number: int
    name: str
    content: bytes


class AlreadyMaking(Exception):
    """A file for this person is being made."""


class DataExport:
    """Makes the files, one at a time, so that memory holds one part however many members ask at once.

    Args:
        store: Everything that is kept about a member.
        taste: Derives the labels of their feedback.
    """

    def __init__(self, store: Store, taste: TasteReader) -> None:
        self._store, self._taste = store, taste
        self._at_once = asyncio.Semaphore(1)
        self._making: set[int] = set()

    async def send(
        self, who: Who, at: datetime, send: Callable[[Part], Awaitable[None]], part_bytes: int = PART_BYTES
    ) -> tuple[Part, str]:
        """Write everything kept about a member; return the last part, and a summary in words.

        Args:
            who: The member.
            at: When they asked.
            send: Sends a part; called for all parts but the last.
            part_bytes: Largest part, bytes.

        Raises:
            AlreadyMaking: A file for this person is being made; one member's files must not fill the queue.
            TimeoutError: The file was not made and sent within :data:`WITHIN_S`.
            Exception: The error of ``send``.
        """
        if who.user_id in self._making:
            raise AlreadyMaking
        self._making.add(who.user_id)
        try:
            async with asyncio.timeout(WITHIN_S), self._at_once:
                file, label_of = _File(at, part_bytes), None
                async with aclosing(self._store.privacy.export_pages(who)) as pages:
                    async for member_id, page in pages:
                        if page.get("members"):  # the first page of a server
                            label_of = await self._taste.labelling(_guild_of(page))
                        for row in page.get("heads", ()):
                            row["sure_of"] = await self._sure_of(member_id)
                        for part in await asyncio.to_thread(file.add, member_id, page, label_of):
                            await send(part)
                *parts, last = await asyncio.to_thread(file.end)
                for part in parts:
                    await send(part)
                return last, file.summary()
        finally:
            self._making.discard(who.user_id)

    async def _sure_of(self, member_id: MemberId) -> dict[str, int]:
        """Return what the member probably likes, by name, and how sure it is in percent, rounded."""
        found = self._taste.learnt_wishes(await self._taste.head_of(member_id, b""))
        return {wish.name: wish.percent for wish in found}


class _File:
    """The file while it is written: JSON with one row a line, cut into parts."""

    def __init__(self, at: datetime, part_bytes: int) -> None:
        self._parts, self._counts = _Parts(part_bytes), Counter[str]()
        self._table: tuple[MemberId, str] | None = None
        self._comma = ""
        begin = {
            "made_at": at.isoformat(),
            "how_to_read": HOW_TO_READ,
            "columns": {f"{table}.{column}": what for (table, column), what in WORDS.items()},
        }
        self._begun = json.dumps(begin, ensure_ascii=False, indent=1).removesuffix("\n}") + ',\n "servers": ['

    def add(self, member_id: MemberId, page: Exported, label_of: LabelOf | None) -> list[Part]:
        """Write a page and return the parts that are full. Blocks; call from a thread."""
        lines, self._begun = [self._begun], ""
        for table, rows in page.items():
            lines.append(self._opening(member_id, table))
            for row in rows:
                if table == "feedback":
                    _add_label(row, label_of)
                lines.append(f"{self._comma}\n{json.dumps(row, ensure_ascii=False)}")
                self._comma = ","
            self._count(table, rows)
        return list(self._parts.add("".join(lines).encode()))

    def end(self) -> list[Part]:
        """Return the last parts, at least one. Blocks; call from a thread."""
        closing = self._begun + ("]}]}" if self._table else "]}")
        return [*self._parts.add(closing.encode()), *self._parts.end()]

    def summary(self) -> str:
        """Describe the content of the file."""
        count = self._counts
        if not count["members"]:
            return tr("I keep nothing about you, in any server.")
        said = tr(
            "This is everything I keep about you, from servers and direct messages: {places}, of which you"
            " agreed in {agreed}.\n"
            "My replies to you: {replies} ({texts} with their text). Your feedback, with the labels I make"
            " of it: {feedback}. Models of your taste, without their shared weights: {heads}.",
            places=count["members"],
            agreed=count["agreed"],
            replies=count["replies"],
            texts=count["texts"],
            feedback=count["feedback"],
            heads=count["heads"],
        )
        if not count["preferences"] and not count["remarks"]:
            return said
        return sentences_of(said, tr(BESIDE, n_preferences=count["preferences"], n_remarks=count["remarks"]))

    def _opening(self, member_id: MemberId, table: str) -> str:
        """Return what closes the table before and opens this one; nothing within a table."""
        before, self._table = self._table, (member_id, table)
        if before == self._table:
            return ""
        self._comma = ""
        if before is None:
            return f'\n{{"{table}": ['
        return f'],\n"{table}": [' if before[0] == member_id else f']}},\n{{"{table}": ['

    def _count(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        self._counts[table] += len(rows)
        if table == "members":
            self._counts["agreed"] += sum(row["standing"] == "agreed" for row in rows)
        if table == "replies":
            self._counts["texts"] += sum(row["texts"] is not None for row in rows)


class _Parts:
    """Cuts content into parts: plain if it fits one, else compressed.

    Args:
        most: Largest part, bytes.
    """

    def __init__(self, most: int) -> None:
        self._most, self._n = most, 0
        self._kept = bytearray()
        self._gzip: Any = None

    def add(self, content: bytes) -> Iterator[Part]:
        """Take more content; yield the parts that are full and not the last."""
        if self._gzip is None and len(self._kept) + len(content) > self._most:
            self._gzip = zlib.compressobj(wbits=_GZIP)
            self._kept = bytearray(self._gzip.compress(bytes(self._kept)))
        self._kept += content if self._gzip is None else self._gzip.compress(content)
        while self._gzip is not None and len(self._kept) > self._most:
            yield self._part(f"my-data.json.gz.{self._n + 1:03}")

    def end(self) -> Iterator[Part]:
        """Yield the remaining parts, at least one."""
        if self._gzip is None:
            yield self._part("my-data.json")
            return
        self._kept += self._gzip.flush()
        while self._kept:
            whole = not self._n and len(self._kept) <= self._most
            yield self._part("my-data.json.gz" + ("" if whole else f".{self._n + 1:03}"))

    def _part(self, name: str) -> Part:
        content = bytes(self._kept[: self._most])
        del self._kept[: self._most]
        self._n += 1
        return Part(self._n, name, content)


def _guild_of(page: Exported) -> bytes:
    """Return the pseudonym of the server from the page with the member."""
    return bytes.fromhex(page["members"][0]["guild"])


def _add_label(row: dict[str, Any], label_of: LabelOf | None) -> None:
    """Add its label to a row of feedback; without the member's key, its state is unknown."""
    label = None
    if label_of is not None and row["state"] is not None:
        state = FeedbackState.from_content(row["state"])
        label = label_of(state.emoji, state.rating)
    row["label"], row["weight"] = (label.value, label.weight) if label else (None, None)
