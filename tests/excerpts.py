"""Cuts the excerpts under ``tests/data`` out of public sets, and makes up the ones that may not be cut.

``python -m tests.excerpts DATA`` reads ``DATA/dbdc3`` and ``DATA/ukpconvarg1`` (MIT, CC BY 4.0) and writes
the same bytes each time. Of convai2018 no licence is stated, and the jokes of jester5k are other people's
under the GPL of a package, so neither is copied: sets made up here have their shape (sparse, dense).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
MAX_TEXT = 220

Rows = list[dict[str, Any]]


def main(full: Path) -> None:
    cut(full, "dbdc3", groups=6, items=10, users=24)
    cut(full, "ukpconvarg1", groups=4, items=14, users=14)
    make_up_thumbs("made_up_thumbs")
    make_up_jokes("made_up_jokes")


def cut(full: Path, name: str, *, groups: int, items: int, users: int) -> None:
    """Keep the fullest groups (as many support as query ones, seed 0), short texts, and who judged most."""
    about = json.loads((full / name / "dataset.json").read_text())
    all_items, labels = read(full / name / "items"), read(full / name / "labels")
    keys = ("item_a", "item_b") if about["kind"] == "pairwise" else ("item_id",)
    short = {item["item_id"] for item in all_items if len(item["reply"]) <= MAX_TEXT}
    group_of = {item["item_id"]: item["group"] for item in all_items}
    labels = [
        row
        for row in labels
        if all(row[key] in short for key in keys) and (len(keys) == 1 or row["label"] != 0.5)
    ]
    busy = {user for user, _ in Counter(row["user_id"] for row in labels).most_common(2 * users)}
    labels = [row for row in labels if row["user_id"] in busy]
    full_first = [group for group, _ in Counter(group_of[row[keys[0]]] for row in labels).most_common()]
    chosen = [g for half in (True, False) for g in [g for g in full_first if is_support(g) == half][:groups]]
    kept: set[str] = set()
    for group in chosen:
        judged = Counter(row[key] for row in labels for key in keys if group_of[row[key]] == group)
        kept |= {item for item, _ in judged.most_common(items)}
    labels = [row for row in labels if all(row[key] in kept for key in keys)]
    most = {user for user, _ in Counter(row["user_id"] for row in labels).most_common(users)}
    labels = [row for row in labels if row["user_id"] in most]
    rows = [
        {key: item[key] for key in ("item_id", "reply", "group")}
        for item in all_items
        if item["item_id"] in kept
    ]
    about["note"] = f"an excerpt, contexts left out; {about['note']}"
    write(DATA / name, about, rows, labels)


def make_up_thumbs(name: str) -> None:
    """Members who gave a thumb or a few to their own bot's replies, as real chat members do."""
    rng = random.Random(0)
    likes = ["That sounds lovely, tell me more!", "I like that too.", "What do you do for fun?", "Nice!"]
    dislikes = ["I do not know.", "i am am am fine", "You said that.", "What is what?"]
    items: Rows = []
    labels: Rows = []
    for dialogue in range(30):
        for turn in range(rng.randint(1, 5)):
            good = rng.random() < 0.6
            reply = f"{rng.choice(likes if good else dislikes)} ({dialogue}-{turn})"
            item = f"c{len(items)}"
            items.append({"item_id": item, "reply": reply, "group": str(dialogue)})
            label = float(rng.random() < (0.8 if good else 0.2))
            labels.append({"user_id": f"User {dialogue % 26:05}", "item_id": item, "label": label})
    write(DATA / name, made_up(name, "pointwise", "sparse thumbs"), items, labels)


def make_up_jokes(name: str) -> None:
    """A dense set: everybody rates nearly everything, finely; half of them like puns."""
    rng = random.Random(1)
    kinds = [
        ("Why did the {} cross the road? To get to the other {}!", 0.3),
        ("A {} walks into a bar. The barman says: not another {}, please.", 0.0),
        ("What do you call a {} that sings? A {}-phone.", 0.25),
    ]
    things = (
        "chicken fish doctor robot poet cactus piano teapot ghost pirate baker goat snail wizard fox otter"
        " llama duck nurse"
    ).split()
    items: Rows = []
    labels: Rows = []
    for number in range(54):
        text, _ = kinds[number % 3]
        thing = things[number % len(things)]
        items.append({"item_id": f"j{number}", "reply": text.format(thing, thing), "group": f"j{number}"})
    for user in range(40):
        for number in range(54):
            taste = kinds[number % 3][1] * (1 if user % 2 else -1)
            if rng.random() < 0.95:
                label = min(1.0, max(0.0, rng.gauss(0.52 + taste, 0.2)))
                labels.append({"user_id": f"u{user}", "item_id": f"j{number}", "label": round(label, 4)})
    write(DATA / name, made_up(name, "pointwise", "dense ratings"), items, labels)


def made_up(name: str, kind: str, note: str) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "source": "made up by tests/excerpts.py; nobody's words or ratings",
        "licence": "MIT",
        "note": note,
    }


def is_support(group: str) -> bool:
    return hashlib.sha256(f"0/{group}".encode()).digest()[0] < 128


def read(path: Path) -> Rows:
    with gzip.open(f"{path}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write(folder: Path, about: dict[str, Any], items: Rows, labels: Rows) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    users = {row["user_id"] for row in labels}
    about |= {"n_items": len(items), "n_labels": len(labels), "n_users": len(users)}
    (folder / "dataset.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    for name, rows in (("items", items), ("labels", labels)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as file:
            file.write(text.encode())
        (folder / f"{name}.jsonl.gz").write_bytes(buffer.getvalue())
    print(folder.name, about["n_items"], about["n_labels"], about["n_users"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
