"""Codec for the two named tables of a prior: emoji -> meaning, server -> shift.

Names go into the metadata of the bytes, sorted, and numbers into arrays, so that reading runs no code and
equal tables give equal bytes. Priors older than these tables have neither and read as empty. Used by
:class:`personalization.heads.heads.Prior` alone.
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
    """Turn the tables into arrays and lists of names; an empty table is left out."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    names: dict[str, list[str]] = {}
    if meanings:
        names["emoji"] = sorted(meanings)
        rows = [(m.value, m.trust, m.agreement) for m in (meanings[emoji] for emoji in names["emoji"])]
        arrays["meanings"] = np.array(rows, dtype=np.float32)  # (emoji, 3)
    if shifts:
        names["guilds"] = sorted(guild.hex() for guild in shifts)
        arrays["shifts"] = np.stack([shifts[bytes.fromhex(name)] for name in names["guilds"]])  # (servers, r)
    return arrays, names


def meanings_of(emoji: object, rows: FloatArray | None) -> dict[str, Meaning]:
    """Parse meanings.

    Args:
        emoji: The names, from the metadata.
        rows: The numbers, ``emoji x 3`` float32; None without any.

    Raises:
        HeadDamaged: Names and numbers do not match, or numbers are out of range.
    """
    names = _names(emoji)
    found = np.zeros((0, 3), np.float32) if rows is None else rows
    in_range = (found >= [-1, 0, 1e-3]) & (found <= [1, 1, np.inf])
    if len(set(names)) != len(found) or not in_range.all():
        raise HeadDamaged(
            f"expected meanings within range for {len(names)} emoji, found {len(found)}, or values"
            " out of range; the next rebuild replaces the prior"
        )
    return {name: Meaning(*map(float, row)) for name, row in zip(names, found, strict=True)}


def shifts_of(guilds: object, rows: FloatArray | None, n_directions: int) -> dict[bytes, FloatArray]:
    """Parse the shifts of servers.

    Args:
        guilds: Pseudonyms in hex, from the metadata.
        rows: The numbers, ``servers x directions`` float32; None without any.
        n_directions: Number of directions that the prior has.

    Raises:
        HeadDamaged: Names and numbers do not match.
    """
    names = _names(guilds)
    found = np.zeros((0, n_directions), np.float32) if rows is None else rows
    valid = len(set(names)) == len(found) and all(map(_HEX.fullmatch, names))
    if not valid or found.shape[1] != n_directions:
        raise HeadDamaged(
            f"expected shifts of {len(names)} servers in {n_directions} directions, found {found.shape}; the"
            " next rebuild replaces the prior"
        )
    return {bytes.fromhex(name): row for name, row in zip(names, found, strict=True)}


def _names(found: object) -> list[str]:
    return [str(name) for name in cast("list[object]", found)] if isinstance(found, list) else []
