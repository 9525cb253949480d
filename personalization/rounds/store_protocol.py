"""What learning asks of the store, as the narrowest protocol.

Rounds are written against this, so that what they may read and write is seen at a glance. Imports no storage
but the types of its records.
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
    """Choices between two replies; :class:`storage.replies.preferences.Preferences` is one."""

    async def counts(self, member_ids: Sequence[MemberId]) -> dict[MemberId, int]:
        """Count each member's choices; members without any are left out."""
        ...

    async def of(self, member_ids: Sequence[MemberId], newest: int) -> dict[MemberId, list[PreferenceRow]]:
        """Read the latest choices of each member, oldest first; damaged rows are left out."""
        ...


class LearningStore(Protocol):
    """What learning asks of the store; :class:`storage.store.Store` is one."""

    @property
    def preferences(self) -> PreferenceStore:
        """Where members' choices between two replies are read."""
        ...

    async def cursor(self) -> int:
        """Read up to where rounds have learnt."""
        ...

    async def changed_after(self, cursor: int, limit: int) -> list[ChangedMember]:
        """List members whose labels changed since, oldest change first."""
        ...

    async def feedback_of(
        self, member_ids: Sequence[MemberId], newest: int
    ) -> dict[MemberId, list[FeedbackRow]]:
        """Read each member's feedback on their newest replies, sorted by reply; damaged rows are left out."""
        ...

    async def emoji_of_guilds(self) -> dict[bytes, dict[str, float]]:
        """Read what emoji mean in each server that says so."""
        ...

    async def feedback_counts(self, member_ids: Sequence[MemberId]) -> dict[MemberId, int]:
        """Count each member's rows of feedback; members without any are left out."""
        ...

    async def members_with_feedback(
        self, after: MemberId | None, limit: int, agreed_before: datetime | None = None
    ) -> list[MemberId]:
        """List members with feedback who agreed before a moment, sorted, after one of them."""
        ...

    async def record_round(
        self, record: RoundRecord, heads: Sequence[NewHead], *, erasures: int | None = None
    ) -> int | None:
        """Write heads, cursor and record in one transaction; the version; None when a member left since."""
        ...

    @property
    def erasures(self) -> int:
        """Grows whenever a member leaves, so that what still knows them is not stored."""
        ...

    async def record_prior(self, record: PriorRecord, *, erasures: int | None = None) -> bool:
        """Replace the prior, and every member with feedback becomes due; False when a member left since."""
        ...

    async def prior(self) -> PriorRecord | None:
        """Read the learnt prior, if there is one."""
        ...
