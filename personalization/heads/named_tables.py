"""What a prior knows by name, as arrays and back: emoji -> meaning, server -> shift.

Names go into the metadata of the bytes, sorted, numbers into arrays beside them, so that reading runs no code
and equal contents give equal bytes. A prior from before these were learnt has neither and reads as empty.
Used by :class:`personalization.heads.heads.Prior` alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from personalization.arrays import FloatArray
from personalization.errors import HeadDamaged
from personalization.labels.labels import Meaning

Shapes = Mapping[str, tuple[str, "int | None", "int | None"]]

SHAPES: Shapes = {"meanings": ("float32", None, 3), "shifts": ("float32", None, None)}
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


def pack(
    meanings: Mapping[str, Meaning], shifts: Mapping[bytes, FloatArray]
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, list[str]]]:
    """Write as arrays and lists of names; what is empty is left out."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    names: dict[str, list[str]] = {}
    if meanings:
        names["emoji"] = sorted(meanings)
        told = [(m.value, m.trust, m.agreement) for m in (meanings[emoji] for emoji in names["emoji"])]
        arrays["meanings"] = np.array(told, dtype=np.float32)  # (emoji, 3)
    if shifts:
        names["guilds"] = sorted(guild.hex() for guild in shifts)
        arrays["shifts"] = np.stack([shifts[bytes.fromhex(name)] for name in names["guilds"]])  # (servers, r)
    return arrays, names


def meanings_of(emoji: object, rows: FloatArray | None) -> dict[str, Meaning]:
    """Read meanings.

    Args:
        emoji: The names, as the metadata give them.
        rows: The numbers, ``emoji x 3``; None when there are none.

    Raises:
        HeadDamaged: Names and numbers do not go together, or are out of range.
    """
    names = _names(emoji)
    told = np.zeros((0, 3), np.float32) if rows is None else rows
    in_range = (told >= [-1, 0, 1e-3]) & (told <= [1, 1, np.inf])
    if len(set(names)) != len(told) or not in_range.all():
        raise HeadDamaged(
            f"expected meanings in their range for {len(names)} emoji, found {len(told)}, or others; the next"
            " rebuild replaces the prior"
        )
    return {name: Meaning(*map(float, row)) for name, row in zip(names, told, strict=True)}


def shifts_of(guilds: object, rows: FloatArray | None, n_directions: int) -> dict[bytes, FloatArray]:
    """Read the shifts of servers, ``servers x directions``.

    Raises:
        HeadDamaged: Names and numbers do not go together.
    """
    names = _names(guilds)
    found = np.zeros((0, n_directions), np.float32) if rows is None else rows
    sound = len(set(names)) == len(found) and all(map(_HEX.fullmatch, names))
    if not sound or found.shape[1] != n_directions:
        raise HeadDamaged(
            f"expected shifts of {len(names)} servers in {n_directions} directions, found {found.shape}; the"
            " next rebuild replaces the prior"
        )
    return {bytes.fromhex(name): row for name, row in zip(names, found, strict=True)}


def _names(found: object) -> list[str]:
    return [str(name) for name in cast("list[object]", found)] if isinstance(found, list) else []
