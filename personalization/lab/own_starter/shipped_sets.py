"""Public sets of judgements that ship with the package, so that any encoder can get a starter prior.

A set ships where its licence permits it; ``judgements/LICENSES.txt`` in the package has the notices. Each is
reduced to what the fit reads: replies, the last line of a context, groups and labels. Ids of people and texts
are replaced by numbers. Further sets are given to ``simpatico fit-starter`` as folders.

Called by :mod:`personalization.lab.own_starter.fitting`; NumPy only.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from personalization.errors import DatasetBroken
from personalization.lab.datasets import Dataset, read_dataset

SHIPPED = ("dbdc3", "mtbench", "dialogue_eval", "ukpconvarg1")
"""Names of the sets. The first one teaches how people differ."""
SETS_SHA256 = "34ccadf6cd555132ef2234d4fb5cbd82cf8b31a29da4c1c3d5155ee2a29505ce"
"""Hash of all files of the sets."""
FILES = ("dataset.json", "items.jsonl.gz", "labels.jsonl.gz")


def shipped_folders() -> list[Path]:
    """Return the folders of the sets that ship, in their order.

    Raises:
        DatasetBroken: A file is missing, or the files do not have the pinned hash.
    """
    with as_file(files("personalization") / "judgements") as folder:
        folders = [folder / name for name in SHIPPED]
    try:
        found = hash_of(folders)
    except OSError as exc:
        raise DatasetBroken(f"expected the sets of {folder}, found {exc}; reinstall the package") from exc
    if found != SETS_SHA256:
        raise DatasetBroken(
            f"expected the sets in {folder} to have SHA-256 {SETS_SHA256}, found {found}; reinstall the"
            " package"
        )
    return folders


def hash_of(folders: Sequence[Path]) -> str:
    """Return the SHA-256 of all files of sets, in hex.

    Raises:
        OSError: A file cannot be read.
    """
    whole = hashlib.sha256()
    for folder in folders:
        for name in FILES:
            whole.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return whole.hexdigest()


def reduce_set(source: Path, target: Path) -> Dataset:
    """Write a set in the form in which it ships; the same set gives the same bytes.

    Args:
        source: Folder of the set.
        target: Folder to write, which may exist.

    Returns:
        The set, as read from the new folder.

    Raises:
        DatasetBroken: The set is not in the format.
        OSError: The folder cannot be written.
    """
    dataset = read_dataset(source)
    about = json.loads((source / FILES[0]).read_text(encoding="utf-8"))
    keys = ("item_a", "item_b") if dataset.pairwise else ("item_id",)
    groups = _numbers(dataset.groups)
    items = [
        {"item_id": str(i), "reply": text, "group": groups[group]}
        | ({"context": [dataset.messages[i]]} if dataset.messages[i] else {})
        for i, (text, group) in enumerate(zip(dataset.texts, dataset.groups, strict=True))
    ]
    labels = [
        {"user_id": str(user)}
        | dict(zip(keys, (str(one) for one in item), strict=True))
        | {"label": round(float(y), 4)}
        for user, item, y in zip(dataset.user, dataset.item, dataset.y, strict=True)
    ]
    target.mkdir(parents=True, exist_ok=True)
    kept = {key: about[key] for key in ("name", "kind", "source", "licence", "note") if key in about}
    (target / FILES[0]).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    for name, rows in zip(FILES[1:], (items, labels), strict=True):
        (target / name).write_bytes(_packed(rows))
    return read_dataset(target)


def _numbers(groups: Sequence[str]) -> dict[str, str]:
    """Number the groups; what is before the first slash, the chatbot, stays."""
    number: dict[str, str] = {}
    for group in groups:
        chatbot, slash, _ = group.partition("/")
        number.setdefault(group, f"{chatbot if slash else ''}{slash}{len(number)}")
    return number


def _packed(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    return gzip.compress(text.encode("utf-8"), 9, mtime=0)
