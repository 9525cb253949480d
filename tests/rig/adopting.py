"""Adopts what members taught in any case, for proofs about what a few members teach."""

from __future__ import annotations

import pytest

from personalization.population import adoption, fit_prior


def adopt_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the taught prior replace the starter, although too few members were held out to show that it pays.

    In a small crowd the starter mostly stands, and then there is nothing that an attacker could see.
    """
    for module in (adoption, fit_prior):
        monkeypatch.setattr(module, "gains", lambda _gain, _needed: True)
