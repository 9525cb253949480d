"""Reads sets of people's judgements of texts into arrays, and splits them for an evaluation.

A folder holds ``dataset.json`` (name, kind, source, licence), ``items.jsonl.gz`` (``item_id, reply, group``)
and ``labels.jsonl.gz`` (pointwise ``user_id, item_id, label``; pairwise ``user_id, item_a, item_b, label``).
Of the field ``context`` only the last line is read: the message that the reply answers. Its cosine to the
reply is the reply's relevance, as in the running bot. A head sees the bot's reply and nothing a member wrote.

Hashes of ids decide who is tested and which labels are support, so the split does not depend on order, on a
random generator or on a choice by hand. Used by every experiment in :mod:`personalization.lab`; NumPy only.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from personalization.arrays import BoolArray, FloatArray, IntArray
from personalization.errors import DatasetBroken

PSEUDO_LABELS = 2.0
"""Weight of the population mean, in labels, when a member's mean is estimated from their other labels."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Judgements of one set.

    Attributes:
        name: Name, as in ``dataset.json``.
        pairwise: Whether a label compares two items.
        texts: Replies of the items.
        groups: Dialogue, debate or item that each item belongs to.
        users: Ids of the members.
        user: Member who gave each label, index into ``users``, ``n``.
        item: Item of each label, ``n x 1``, or ``n x 2`` for pairs (the second is the reference).
        y: Label values in [0, 1], ``n`` float32. Ties of pairs are excluded.
        trust: Weight of a label, in binary labels (thumbs), >= 1; :func:`trust_in` estimates it.
        messages: Message that each reply answers, blank where it is unknown. Empty: unknown everywhere.
    """

    name: str
    pairwise: bool
    texts: tuple[str, ...]
    groups: tuple[str, ...]
    users: tuple[str, ...]
    user: IntArray
    item: IntArray
    y: FloatArray
    trust: float = 1.0
    messages: tuple[str, ...] = ()


def read_dataset(folder: Path) -> Dataset:
    """Read a folder.

    Raises:
        DatasetBroken: A file is missing, or a line is malformed.
    """
    try:
        about: dict[str, Any] = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        items, labels = (_lines(folder / f"{name}.jsonl.gz") for name in ("items", "labels"))
        return _checked(folder, about, items, labels)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise DatasetBroken(
            f"expected dataset.json, items.jsonl.gz and labels.jsonl.gz in {folder}, found"
            f" {type(exc).__name__}: {exc}; docs/learning/measurements.md describes the format"
        ) from exc


def _checked(
    folder: Path, about: dict[str, Any], items: list[dict[str, Any]], labels: list[dict[str, Any]]
) -> Dataset:
    """Validate the lines of a folder and convert them to arrays.

    Raises:
        DatasetBroken: A line is malformed; the message names expected and found values.
    """
    if about["kind"] not in ("pointwise", "pairwise"):
        raise DatasetBroken(
            f"expected the kind pointwise or pairwise in {folder / 'dataset.json'}, found {about['kind']!r}"
        )
    pairwise = about["kind"] == "pairwise"
    place = {str(item["item_id"]): i for i, item in enumerate(items)}
    if len(place) < len(items):
        raise DatasetBroken(
            f"expected each item_id once in {folder}, found {len(items) - len(place)} duplicates"
        )
    keys = ("item_a", "item_b") if pairwise else ("item_id",)
    labels = [label for label in labels if not pairwise or label["label"] != 0.5]
    if not labels:
        raise DatasetBroken(
            f"expected labels in {folder}, found no labels"
            + (" (equal pairs are left out)" if pairwise else "")
        )
    judged = [[str(label[key]) for key in keys] for label in labels]
    unknown = [own for own in judged if any(item not in place for item in own)]
    if unknown:
        missing = next(item for item in unknown[0] if item not in place)
        raise DatasetBroken(
            f"expected labels about the items in {folder}, found {missing!r}, and {len(unknown)} labels in"
            " all, which are not in items.jsonl.gz"
        )
    y = np.array([label["label"] for label in labels], np.float32)
    if not ((y >= 0) & (y <= 1)).all():
        wrong = y[~((y >= 0) & (y <= 1))]
        raise DatasetBroken(
            f"expected labels in [0, 1] in {folder}, found {wrong[0]:g} and {len(wrong) - 1} more"
        )
    users: dict[str, int] = {}
    user = np.array([users.setdefault(str(label["user_id"]), len(users)) for label in labels], np.int64)
    return Dataset(
        name=str(about["name"]),
        pairwise=pairwise,
        texts=tuple(str(item["reply"]) for item in items),
        groups=tuple(str(item["group"]) for item in items),
        users=tuple(users),
        user=user,
        item=np.array([[place[item] for item in own] for own in judged], np.int64),
        y=y,
        messages=tuple(_message(folder, item) for item in items),
    )


def _message(folder: Path, item: dict[str, Any]) -> str:
    """Return the last line of an item's context; blank without any.

    Raises:
        DatasetBroken: The context is not a list of texts.
    """
    context: Any = item.get("context") or []
    lines = cast("list[Any]", context)
    if not isinstance(context, list) or not all(isinstance(line, str) for line in lines):
        raise DatasetBroken(
            f"expected a list of texts as the context of {item['item_id']!r} in {folder}, found another value"
        )
    return str(lines[-1]) if lines else ""


def join(population: Dataset, members: Dataset) -> tuple[Dataset, BoolArray]:
    """Merge the labels of other members, on the same items, into the population's set.

    Returns:
        The merged set, and whether each of its users is one of the other members. An id in both sets counts
        as two people.

    Raises:
        DatasetBroken: The kinds differ, or a member judged a text that is not in the population's set.
    """
    if population.pairwise != members.pairwise:
        raise DatasetBroken("expected population and members of one kind, found pairs and single labels")
    place = {key: i for i, key in enumerate(zip(population.texts, population.groups, strict=True))}
    keys = list(zip(members.texts, members.groups, strict=True))
    used = np.unique(members.item)
    if unknown := sum(keys[i] not in place for i in used):
        raise DatasetBroken(f"expected members who judged the population's items, found {unknown} others")
    moved = np.array([place.get(key, -1) for key in keys], np.int64)
    joined = Dataset(
        population.name,
        population.pairwise,
        population.texts,
        population.groups,
        (*population.users, *members.users),
        np.concatenate([population.user, members.user + len(population.users)]),
        np.concatenate([population.item, moved[members.item]]),
        np.concatenate([population.y, members.y]),
        messages=population.messages,
    )
    return joined, np.arange(len(joined.users)) >= len(population.users)


def dev_members(users: Sequence[str]) -> BoolArray:
    """Select the users who are tested under ``--dev``: a fifth, by the hash of their id."""
    return np.array([_first_byte(f"{user}/dev") % 5 == 0 for user in users], dtype=np.bool_)


def is_support(dataset: Dataset, seed: int) -> BoolArray:
    """Mark support labels, ``n``; the others are query. Half of the groups are support, by hash and seed."""
    by_group = {group: _first_byte(f"{seed}/{group}") < 128 for group in set(dataset.groups)}
    item = np.array([by_group[group] for group in dataset.groups], dtype=np.bool_)
    return item[dataset.item[:, 0]]


def binary_labels(y: FloatArray, population: FloatArray) -> FloatArray:
    """Binarize labels: 1 above the population's median, or from it on if that would give less than a fifth 1.

    Args:
        y: Label values, any shape.
        population: Label values of the population, which define the threshold.
    """
    median = float(np.median(population))
    strict = float((population > median).mean()) >= 0.2
    return (y > median if strict else y >= median).astype(np.float32)


def trust_in(dataset: Dataset, labels: IntArray) -> float:
    """Estimate the weight of these labels in binary labels, from their smaller variance.

    A binary label of a member who likes a share p of replies has variance p (1 - p). A graded label lies
    closer to the member's mean. The weight is the ratio of the two variances over all labels, around the mean
    of each member's other labels. With weight 1, a model would expect more noise than there is, and would
    attribute part of the differences between people to it.

    The weight is valid only for replies that the population has judged. For other replies, the model's
    uncertainty about the reply adds variance (on DBDC3 this weight gains nothing).

    Args:
        dataset: The judgements.
        labels: Indices of the population's labels, ``n``.

    Returns:
        Weight >= 1; it is 1 for binary labels and for pairs.

    Source: McCullagh and Nelder (1989), Generalized linear models, 9.2: quasi-likelihood and dispersion.
    """
    y, user = dataset.y[labels].astype(np.float64), dataset.user[labels]
    if not len(y) or np.isin(y, (0.0, 1.0)).all():
        return 1.0
    n, total = np.bincount(user)[user], np.bincount(user, weights=y)[user]
    others = (total - y + PSEUDO_LABELS * y.mean()) / (n - 1 + PSEUDO_LABELS)  # (n,)
    return max(1.0, float((others * (1 - others)).sum() / ((y - others) ** 2).sum()))


def _first_byte(text: str) -> int:
    return hashlib.sha256(text.encode()).digest()[0]


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
