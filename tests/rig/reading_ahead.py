"""Watches how far a round has read ahead of what it solves."""

from __future__ import annotations

import pytest

from personalization.rounds import trainer as rounds
from personalization.rounds.gathering import ahead
from storage.records import MemberId


def labels_read(monkeypatch: pytest.MonkeyPatch) -> set[MemberId]:
    """Collect the members whose labels rounds have read, also those that wait to be solved."""
    read: set[MemberId] = set()

    def watched(batches, most: int):
        async def noted():
            async for batch in batches:
                read.update(one.member_id for one in batch.labelled)
                yield batch

        return ahead(noted(), most)

    monkeypatch.setattr(rounds, "ahead", watched)
    return read
