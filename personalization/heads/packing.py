"""Serialisation of heads and priors: arrays to safetensors, which hold no code, and back with checks.

Used by :mod:`personalization.heads.heads`, which gives the arrays their meaning, and by a member's data
export.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from personalization.errors import HeadDamaged, HeadOutdated

Arrays = dict[str, npt.NDArray[Any]]
Shapes = Mapping[str, tuple[str, *tuple[int | None, ...]]]
"""Name -> dtype, then the size of each axis; None: any size."""


def pack_arrays(arrays: Arrays, **metadata: str | list[str]) -> bytes:
    """Serialise arrays and metadata; equal ones give equal bytes."""
    # One metadata entry: safetensors writes several in no fixed order, and equal heads must give equal bytes.
    return save(arrays, metadata={"simpatico": json.dumps(metadata, sort_keys=True)})


def unpack_arrays(
    body: bytes,
    kind: str,
    *,
    feature_id: str,
    shapes: dict[str, tuple[str, int]],
    optional: Shapes | None = None,
) -> tuple[Arrays, dict[str, object]]:
    """Parse and check what :func:`pack_arrays` wrote.

    Args:
        body: The bytes.
        kind: Expected kind of the bytes, for messages.
        feature_id: Features that they must be made for.
        shapes: Required arrays: name -> dtype and size.
        optional: Arrays that may be present.

    Returns:
        The arrays and the metadata.

    Raises:
        HeadDamaged: The bytes are something else, or damaged.
        HeadOutdated: They were made for other features.
    """
    advice = "it is not used, and the next round replaces it"
    try:
        arrays: Arrays = load(body)
        header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
        metadata: dict[str, object] = json.loads(header["__metadata__"]["simpatico"])
        made_for = metadata["feature_id"]
    except (SafetensorError, ValueError, KeyError, TypeError) as exc:
        raise HeadDamaged(
            f"expected a {kind} as safetensors, found {len(body)} other bytes; {advice}"
        ) from exc
    if made_for != feature_id:
        raise HeadOutdated(
            f"expected a {kind} for the features {feature_id}, found one for {made_for}; {advice}"
        )
    found = {name: (str(array.dtype), *array.shape) for name, array in arrays.items()}
    expected: dict[str, tuple[str | int, ...]] = dict(shapes)
    for name, (dtype, *sizes) in (optional or {}).items():
        if name in arrays and arrays[name].ndim == len(sizes):  # None: any size
            given = arrays[name].shape
            expected[name] = (
                dtype,
                *(n if size is None else size for n, size in zip(given, sizes, strict=True)),
            )
    if found != expected:
        raise HeadDamaged(f"expected a {kind} of {expected}, found {found}; {advice}")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise HeadDamaged(f"expected a {kind} of finite numbers, found NaN or infinity; {advice}")
    return arrays, metadata
