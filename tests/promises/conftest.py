"""Fixtures for proofs about the running bot, shared with the integration tests."""

from __future__ import annotations

from tests.integration.conftest import settings, with_bot, world

__all__ = ["settings", "with_bot", "world"]
