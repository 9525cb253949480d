"""Proofs of what the running bot does start from the same world as the integration tests."""

from __future__ import annotations

from tests.integration.conftest import settings, with_bot, world

__all__ = ["settings", "with_bot", "world"]
