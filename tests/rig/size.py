"""Size of the proofs: small in CI, full with ``make promises SIZE=full``."""

from __future__ import annotations

import os

FULL = os.environ.get("SIMPATICO_PROOF_SIZE", "ci") == "full"


def sized(ci: int, full: int) -> int:
    """Return the number for the requested size."""
    return full if FULL else ci
