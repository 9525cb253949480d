"""The example of ``config.toml``, which the package brings along."""

from __future__ import annotations

import sys
from pathlib import Path

NAME = "config.example.toml"
_CHECKOUT = Path(__file__).parents[2]
_INSTALLED = Path("share") / "simpatico"


def example_config() -> str:
    """Return the example, of a checkout or of an installed package.

    Raises:
        FileNotFoundError: It is in none of the places; the message names them.
    """
    places = [_CHECKOUT / NAME, Path(sys.prefix) / _INSTALLED / NAME]
    for place in places:
        if place.is_file():
            return place.read_text("utf-8")
    raise FileNotFoundError(f"expected {NAME} in one of {', '.join(map(str, places))}, found none")
