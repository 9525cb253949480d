"""Renders the list of stored columns into ``docs/privacy.md``.

``python -m storage.privacy.personal_data docs/privacy.md`` (``make privacy``) writes the generated part of
the page. A test fails while the page differs from the list.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from storage.privacy.personal_data.columns import PERSONAL_DATA

HOLDS = {
    "members": "members and their decisions",
    "replies": "what the bot posted",
    "messages": "the Discord messages of a reply",
    "feedback": "reactions and ratings",
    "preferences": "choices between two replies",
    "remarks": "private remarks on what was wrong with a reply",
    "reports": "reported replies",
    "faq": "a server's questions and answers",
    "safety_rules": "how strict the bot is in a server",
    "heads": "learnt tastes",
    "wishes": "how members wish to be answered",
    "prior": "the average taste",
    "rounds": "training runs",
    "departures": "servers that the bot left",
    "seen_servers": "servers that the bot is in",
    "shard_lists": "lists of the servers of each shard",
    "guild_settings": "what the managers of a server set for it",
    "notes": "internal notes of the program",
    "origin": "the keys that this file belongs to",
    "system_keys": "in `keys.db`: keys of the program",
    "member_keys": "in `keys.db`: one data key per member",
    "erased_keys": "in `ledger.db`: destroyed keys",
    "refusals": "in `ledger.db`: members who refused",
    "ledger_origin": "in `ledger.db`: the keys that this file belongs to",
}
"""Table -> what it holds, in the order of the page."""

NOT_REMOVED: tuple[tuple[str, str], ...] = (
    (
        "Discord's own copy of every message and reaction",
        "it belongs to Discord. Ask Discord to delete it",
    ),
    ("The replies that the bot posted", "they stay in Discord until somebody deletes them there"),
    (
        "Counts and times of training runs",
        "they are about nobody. They say how many members and labels took part, not which",
    ),
    (
        "Your refusal",
        "the bot keeps a keyed hash of your id, so that it does not ask you again. The hash is deleted when "
        "you agree",
    ),
    (
        "The number of your destroyed key, as a keyed hash in `ledger.db`",
        "it is no longer about you. It keeps a restored backup from bringing your data back",
    ),
    (
        "A block by the managers of a server",
        "a keyed hash in the server's sealed settings keeps the bot from answering you there. It is deleted "
        "when the managers lift the block, or with the server's data. `/limits` tells you whether you are "
        "blocked",
    ),
    (
        "What a server's managers entered with `/faq` and `/safety`",
        "it belongs to the server. Its author is not stored, so the bot cannot find your entries. Ask the "
        "managers to remove them",
    ),
    (
        "The last sequence number",
        "it is the time of the latest change in the database, but not what it was or whose",
    ),
    (
        "The contents of the computer's memory",
        "the program does not overwrite them. They disappear when the memory is used for something else",
    ),
    (
        "Old blocks of a disk",
        "snapshots of a file system, and the spare area of an SSD, keep copies of files",
    ),
    (
        "Copies of the key folder and of the data, both made before you left",
        "the person who runs the bot must delete the old copies of the keys. Without them, nobody can read "
        "the copies of the data. If only one of the two is restored, the bot deletes your part at its next "
        "start. If an older `ledger.db` is restored as well, the bot cannot know that you left",
    ),
)
"""What forgetting does not remove, and why."""

_GENERATED = re.compile(r"(?<=<!-- written by `make privacy` -->\n\n).*(?=\n<!-- end -->)", re.DOTALL)


def markdown(table: str) -> str:
    """Render the rows of one table as Markdown."""
    head = "| column | what it holds | about | form | kept | deleted |\n|---|---|---|---|---|---|"
    rows = (
        f"| `{kept.column}` | {kept.what} | {kept.whose} | {kept.form} | {kept.retention} | {kept.erased} |"
        for kept in PERSONAL_DATA
        if kept.table == table
    )
    return "\n".join([head, *rows])


def page(text: str) -> str:
    """Return the privacy page with its generated part replaced.

    Raises:
        ValueError: The page has no markers for the generated part.
    """
    left = (textwrap.fill(f"* **{w}**: {why}.", 120, subsequent_indent="  ") for w, why in NOT_REMOVED)
    parts = ["## What is not removed\n\n" + "\n".join(left)]
    parts.append(
        "## Every column\n\nThis list comes from `storage/privacy/personal_data/columns.py`. A test compares "
        "it with the database."
    )
    parts += [f"### `{table}`: {holds}\n\n{markdown(table)}" for table, holds in HOLDS.items()]
    if not _GENERATED.search(text):
        raise ValueError(
            "Expected the lines <!-- written by `make privacy` --> and <!-- end --> in the page, found none."
        )
    return _GENERATED.sub(lambda _: "\n\n".join(parts) + "\n", text)


def main(arguments: Sequence[str]) -> None:
    """Write the generated part into the page at the path ``arguments[0]``."""
    path = Path(arguments[0])
    path.write_text(page(path.read_text("utf-8")), "utf-8")
