"""Members who like kinds of candidates: replies of given seats, and thumbs on them, straight in the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

from personalization.insight.arm_book import ArmBook, Labelling
from personalization.labels.labels import EmojiValence, label_of
from personalization.settings import LabelWeights
from storage.records import Place, Seat, Who
from storage.store import Store
from tests.unit.storage.given import CHANNEL, IMPRESSION

EVEN = (0.25, 1.0, 1.0, 1.0)
_messages = count(2_000_000_000_000_000_001)

MIN_MEMBERS = 5


def book_of(store: Store) -> ArmBook:
    """Return an arm book of this store, as a running bot makes it."""

    async def labelling(guild: bytes) -> Labelling:
        return partial(label_of, valence=EmojiValence({}), weights=LabelWeights())

    return ArmBook(store.choices, labelling, min_members=MIN_MEMBERS)


async def liked(store: Store, who: Who, kinds: Iterable[tuple[Seat, str]]) -> list[int]:
    """Let a member agree, get replies of these seats, and react to each; return the messages."""
    await store.consent.record(who)
    messages: list[int] = []
    for seat, emoji in kinds:
        messages.append(next(_messages))
        impression = replace(IMPRESSION, styles=("x", seat.style), seat=seat)
        await store.replies.record(who, Place(CHANNEL, (messages[-1],)), impression)
        if emoji:
            await store.feedback.record_reaction(who, messages[-1], emoji, added=True)
    return messages


def seats(style: str, n: int, *, writer: str = "", wish: str = "", examples: bool = False) -> Sequence[Seat]:
    """Return ``n`` equal seats."""
    return [Seat(0, style, writer, wish, examples, EVEN)] * n


def fan_of(style: str, *, than: str, n: int = 2) -> list[tuple[Seat, str]]:
    """Return the reactions of a member who likes one style and dislikes another one."""
    return [*((one, "👍") for one in seats(style, n)), *((one, "👎") for one in seats(than, n))]
