"""How large a proof is: small in CI, in full with ``make promises SIZE=full``."""

from __future__ import annotations

import os

FULL = os.environ.get("SIMPATICO_PROOF_SIZE", "ci") == "full"


def sized(ci: int, full: int) -> int:
    """The number for the size that is asked for."""
    return full if FULL else ci
