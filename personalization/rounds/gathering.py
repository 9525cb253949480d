"""Reads what members told, in bounded pieces, and seats those who teach the prior in the worker process.

The event loop's side of reading: storage is asked for few members at a time, rows become arrays in the
trainer's thread, and the teachers of the prior go on to the worker piece by piece. So neither what is held
in the bot nor what is copied at once grows with the population. Part of
:mod:`personalization.rounds.trainer`; imports no storage but the protocol and the types of its records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import ParamSpec, Protocol, TypeVar

from personalization.heads.heads import FeatureSpace
from personalization.rounds.examples import Told, told_of
from personalization.rounds.store_protocol import LearningStore
from personalization.rounds.teaching import seat
from personalization.settings import LearningSettings
from storage.records import MemberId

MEMBERS_AT_ONCE = 256
MEMBERS_READ_AT_ONCE = 256
LABELS_AT_ONCE = 4000
"""Replies with feedback in one reading, unless one member has more: 6.5 MB of features."""
FEWEST_LABELS, MOST_LABELS = 25, 50
"""Labels of one member that teach the prior, the newest: as many as there is room for within these.

Many members of few labels teach more than few members of many: with 10,000 labels of crowd judges, 440 people
of 25 labels gave better heads than 250 of 50, and 660 of 15 or 8 gave worse ones (docs/learning.md).
"""

P = ParamSpec("P")
T = TypeVar("T")


class Runner(Protocol):
    """Runs a function elsewhere."""

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Give its result when it is there."""
        ...


class Gatherer:
    """Reads feedback as members told it.

    Args:
        features: What stored features must have been made by.
        aside: Runs a function in the trainer's thread.
        work: Runs a function in the worker process.
    """

    def __init__(self, features: FeatureSpace, aside: Runner, work: Runner) -> None:
        self._features = features
        self._aside = aside
        self._work = work

    async def told(
        self, store: LearningStore, member_ids: Sequence[MemberId], newest: int, *, pairs: int = 0
    ) -> AsyncIterator[list[Told]]:
        """Read what these members told, a bounded number of members and labels at a time.

        Args:
            store: Where to read.
            member_ids: Whose.
            newest: Replies of each member, the latest, whose feedback is read.
            pairs: Choices between two replies of each member, the latest, that are read.
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
            yield await self._aside(told_of, member_ids[start:end], feedback, self._features, preferences)
            start = end

    async def seat_teachers(
        self,
        store: LearningStore,
        lesson: str,
        settings: LearningSettings,
        agreed_before: datetime,
        stopped: Callable[[], bool],
    ) -> int:
        """Seat the members who teach the prior in the worker: at most so many labels in all.

        Who teaches is a function of who is there: everybody with the same number of labels, and if that is
        still too much, those whose pseudonyms come first, which are in no order that means anything. So when
        somebody leaves, those are taken who would have been taken without them.

        Args:
            store: Where to read.
            lesson: Names the lesson to the worker.
            settings: How many labels may teach, in all and of one member's day.
            agreed_before: Who agreed later does not teach yet.
            stopped: Asked before each page; reading ends when it says so.

        Returns:
            Number of members seated.
        """
        room, n_seated, after = settings.prior_labels, 0, None
        most = max(1, room // FEWEST_LABELS)
        everybody = max(1, len(await store.members_with_feedback(None, most, agreed_before)))
        newest = min(MOST_LABELS, room // everybody)
        while not stopped():
            member_ids = await store.members_with_feedback(after, MEMBERS_AT_ONCE, agreed_before)
            if not member_ids:
                break
            async for few in self.told(store, member_ids, newest):
                taken: list[Told] = []
                for member in (thinned(member, settings.prior_labels_per_day) for member in few):
                    if len(member.X) > room:
                        return await self._work(seat, lesson, taken) if taken else n_seated
                    if len(member.X):
                        taken.append(member)
                        room -= len(member.X)
                if taken:
                    n_seated = await self._work(seat, lesson, taken)
            after = member_ids[-1]
        return n_seated


def thinned(member: Told, per_day: int) -> Told:
    """Leave out all but the first replies of each day: one member's busy day must not speak for everybody.

    Args:
        member: What they told, oldest reply first.
        per_day: Most replies whose feedback last changed on one day, UTC.
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
