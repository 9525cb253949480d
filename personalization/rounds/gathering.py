"""Reads feedback in bounded batches, and sends the feedback that the prior is fitted to into the worker.

Storage is read for a few members at a time, rows become arrays in the trainer's thread, and each batch for
the prior goes to the worker process at once. So memory in the bot and the size of a copy are bounded whatever
the size of the population. Reading goes on while earlier batches are solved (:func:`ahead`). Used by
:mod:`personalization.rounds.trainer`. Of storage it imports only record types.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import ParamSpec, Protocol, TypeVar

from personalization.heads.heads import FeatureSpace
from personalization.rounds.examples import MemberFeedback, decode_feedback
from personalization.rounds.store_protocol import LearningStore
from personalization.rounds.teaching import buffer_feedback
from personalization.settings import LearningSettings
from storage.records import MemberId

MEMBERS_AT_ONCE = 256
MEMBERS_READ_AT_ONCE = 256
LABELS_AT_ONCE = 4000
"""Replies with feedback in one batch, unless one member alone has more: 6.5 MB of features."""
FEWEST_LABELS, MOST_LABELS = 25, 50
"""Range of labels per member that the prior is fitted to, the newest ones; the total limit sets the value.

Many members with few labels give a better prior than few members with many. With 10,000 labels of crowd
judges, 440 people with 25 labels gave better heads than 250 with 50. With 15 or 8 labels, 660 people gave
worse ones (docs/learning/parts.md).
"""

P = ParamSpec("P")
T = TypeVar("T")


class Runner(Protocol):
    """Function that runs another function outside the event loop."""

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Run the function and return its result."""
        ...


async def ahead(items: AsyncGenerator[T], most: int) -> AsyncGenerator[T]:
    """Yield the items of a generator that goes on meanwhile, at most ``most`` items ahead of the caller.

    An error of the generator is raised after the items before it. Closing this generator cancels the other.
    """
    waiting: asyncio.Queue[tuple[T, ...]] = asyncio.Queue()  # the empty tuple is the end
    room = asyncio.Semaphore(most)

    async def fetch() -> None:
        try:
            async for item in items:
                await room.acquire()
                waiting.put_nowait((item,))
        finally:
            waiting.put_nowait(())

    fetching = asyncio.create_task(fetch(), name="read-ahead")
    try:
        while item := await waiting.get():
            room.release()
            yield item[0]
        await fetching
    finally:
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
        await items.aclose()


class FeedbackReader:
    """Reads members' feedback in batches.

    Args:
        features: The features in use; rows stored for other features are skipped.
        in_thread: Runs a function in the trainer's thread.
        in_worker: Runs a function in the worker process.
    """

    def __init__(self, features: FeatureSpace, in_thread: Runner, in_worker: Runner) -> None:
        self._features = features
        self._in_thread = in_thread
        self._in_worker = in_worker

    async def read(
        self, store: LearningStore, member_ids: Sequence[MemberId], newest: int, *, pairs: int = 0
    ) -> AsyncIterator[list[MemberFeedback]]:
        """Read the feedback of members, a bounded number of members and labels at a time.

        Args:
            store: The store to read from.
            member_ids: The members, in the order of the result.
            newest: Number of latest replies of each member whose feedback is read.
            pairs: Number of latest choices between two replies of each member that are read.

        Yields:
            Feedback of a few members at a time.

        Raises:
            StorageError: Reading failed.
        """
        counts = await store.feedback_counts(member_ids)
        chosen = await store.preferences.counts(member_ids) if pairs else {}
        sizes = [
            min(counts.get(member_id, 0), newest) + 2 * min(chosen.get(member_id, 0), pairs)
            for member_id in member_ids
        ]
        start = 0
        while start < len(member_ids):
            end, n_labels = start + 1, sizes[start]
            while end < min(len(member_ids), start + MEMBERS_READ_AT_ONCE):
                n_labels += sizes[end]
                if n_labels > LABELS_AT_ONCE:
                    break
                end += 1
            feedback = await store.feedback_of(member_ids[start:end], newest)
            choosers = [member_id for member_id in member_ids[start:end] if member_id in chosen]
            preferences = await store.preferences.of(choosers, pairs) if choosers else None
            yield await self._in_thread(
                decode_feedback, member_ids[start:end], feedback, self._features, preferences
            )
            start = end

    async def send_teachers(
        self,
        store: LearningStore,
        lesson: str,
        settings: LearningSettings,
        agreed_before: datetime,
        stopped: Callable[[], bool],
    ) -> int:
        """Send the feedback that the prior is fitted to into the worker, at most ``prior_labels`` labels.

        The sample depends only on the members present. Every member contributes up to the same number of
        labels. If the total is still too large, members are taken in the order of their pseudonyms, which
        are random. So the sample is the one that would have been drawn had a member who left never existed.

        Args:
            store: The store to read from.
            lesson: Name under which the worker buffers the sample.
            settings: Limits on labels, in total and per member and day.
            agreed_before: Members who agreed later are not in the sample yet.
            stopped: Checked before each page; if true, reading ends.

        Returns:
            Number of members in the sample.

        Raises:
            RoundFailed: The worker process died.
            StorageError: Reading failed.
        """
        room, n_buffered, after = settings.prior_labels, 0, None
        most = max(1, room // FEWEST_LABELS)
        n_members = max(1, len(await store.members_with_feedback(None, most, agreed_before)))
        newest = min(MOST_LABELS, room // n_members)
        while not stopped():
            member_ids = await store.members_with_feedback(after, MEMBERS_AT_ONCE, agreed_before)
            if not member_ids:
                break
            async for batch in self.read(store, member_ids, newest):
                taken: list[MemberFeedback] = []
                for member in (thinned(member, settings.prior_labels_per_day) for member in batch):
                    if len(member.X) > room:
                        return await self._in_worker(buffer_feedback, lesson, taken) if taken else n_buffered
                    if len(member.X):
                        taken.append(member)
                        room -= len(member.X)
                if taken:
                    n_buffered = await self._in_worker(buffer_feedback, lesson, taken)
            after = member_ids[-1]
        return n_buffered


def thinned(member: MemberFeedback, per_day: int) -> MemberFeedback:
    """Drop all but the first replies of each day, so that one member's busy day cannot dominate the prior.

    Args:
        member: The member's feedback, oldest reply first.
        per_day: Maximum number of replies whose feedback last changed on the same UTC day.
    """
    seen: Counter[date] = Counter()
    kept: list[int] = []
    for i, at in enumerate(member.changed_at):
        seen[at.date()] += 1
        if seen[at.date()] <= per_day:
            kept.append(i)
    if len(kept) == len(member.changed_at):
        return member
    return replace(
        member,
        X=member.X[kept],
        signs=tuple(member.signs[i] for i in kept),
        changed_at=tuple(member.changed_at[i] for i in kept),
        reply_ids=tuple(member.reply_ids[i] for i in kept) if member.reply_ids else (),
    )
