"""Watches how far a round has read ahead of what it solves."""

from __future__ import annotations

import pytest

from personalization.rounds import trainer as rounds
from personalization.rounds.gathering import ahead


def batches_read(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Collect the batches of members that rounds have read, also those that wait to be solved."""
    read: list[object] = []

    def watched(batches, most: int):
        async def noted():
            async for batch in batches:
                read.append(batch)
                yield batch

        return ahead(noted(), most)

    monkeypatch.setattr(rounds, "ahead", watched)
    return read
