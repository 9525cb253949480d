"""Protocols that list every read and write of training rounds.

:mod:`personalization.rounds.trainer` and :mod:`personalization.insight.taste` depend on these protocols, not
on the store, so this page shows all data that learning may access. Of storage it imports only record types.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from storage.records import (
    ChangedMember,
    FeedbackRow,
    MemberId,
    NewHead,
    PreferenceRow,
    PriorRecord,
    RoundRecord,
)


class PreferenceStore(Protocol):
    """Access to choices between two replies, as :class:`storage.replies.preferences.Preferences` gives it."""

    async def counts(self, member_ids: Sequence[MemberId]) -> dict[MemberId, int]:
        """Count each member's choices; members without choices are omitted."""
        ...

    async def of(self, member_ids: Sequence[MemberId], newest: int) -> dict[MemberId, list[PreferenceRow]]:
        """Read the latest choices of each member, oldest first; damaged rows are skipped."""
        ...


class LearningStore(Protocol):
    """Access to the data of learning, as :class:`storage.store.Store` gives it."""

    @property
    def preferences(self) -> PreferenceStore:
        """Access to members' choices between two replies."""
        ...

    async def cursor(self) -> int:
        """Read the sequence number of the last change that a round took in."""
        ...

    async def changed_after(self, cursor: int, limit: int) -> list[ChangedMember]:
        """List members whose labels changed after the cursor, oldest change first."""
        ...

    async def feedback_of(
        self, member_ids: Sequence[MemberId], newest: int
    ) -> dict[MemberId, list[FeedbackRow]]:
        """Read each member's feedback on their newest replies, sorted by reply; damaged rows are skipped."""
        ...

    async def emoji_of_guilds(self) -> dict[bytes, dict[str, float]]:
        """Read the emoji valences that servers have set, by server pseudonym."""
        ...

    async def feedback_counts(self, member_ids: Sequence[MemberId]) -> dict[MemberId, int]:
        """Count each member's rows of feedback; members without feedback are omitted."""
        ...

    async def members_with_feedback(
        self, after: MemberId | None, limit: int, agreed_before: datetime | None = None
    ) -> list[MemberId]:
        """List members with feedback who agreed before a time, sorted by id, starting after a given id."""
        ...

    async def record_round(
        self, record: RoundRecord, heads: Sequence[NewHead], *, erasures: int | None = None
    ) -> int | None:
        """Write heads, cursor and record in one transaction.

        Returns:
            The version of the heads; None if a member was erased after ``erasures`` was read. Nothing is
            written then.
        """
        ...

    @property
    def erasures(self) -> int:
        """Number of erasures so far. A write that passes an outdated number is refused."""
        ...

    async def record_prior(self, record: PriorRecord, *, erasures: int | None = None) -> bool:
        """Replace the prior and mark every member with feedback as due.

        Returns:
            False if a member was erased after ``erasures`` was read. Nothing is written then.
        """
        ...

    async def prior(self) -> PriorRecord | None:
        """Read the stored prior; None if no prior has been learnt."""
        ...
