"""The list of everything kept: each column, whose it is, if it is sealed, how long it stays, how it goes.

A test compares it with the schema, so that no column can be added without an answer to these questions.
``python -m storage.privacy.personal_data docs/privacy.md`` (``make privacy``) writes the list into the page
that says the same to people; a test fails while the page says anything else.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Whose(StrEnum):
    """Whom a column is about."""

    ASKER = "asker"
    """The member the bot answered."""
    REACTOR = "reactor"
    """The member who reacted or rated."""
    MEMBER = "member"
    """The member as such: decision, key, head."""
    ALL = "all"
    """Many members together."""
    SERVER = "server"
    """A server as such: what those who manage it handed over for it. Who did so is not kept."""
    NOBODY = "nobody"


class Form(StrEnum):
    """How a value stands in the file."""

    SEALED = "sealed"
    """AES-256-GCM, bound to its place."""
    PSEUDONYM = "pseudonym"
    """HMAC of a Discord id under a secret key."""
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Kept:
    """One column of ``data.db``, ``keys.db`` or ``ledger.db``.

    Attributes:
        what: What it holds, in plain words.
        erased: When it goes because of what somebody does, in plain words.
        retention: How long it stays when nobody does anything, in plain words.
    """

    table: str
    column: str
    whose: Whose
    form: Form
    what: str
    erased: str
    retention: str

    @property
    def exported(self) -> bool:
        """Whether ``/my-data`` shows it to the member: all that is one member's, but not the key itself."""
        return self.whose in (Whose.ASKER, Whose.REACTOR, Whose.MEMBER) and self.what != A_KEY


A_KEY = "the member's data key"
AS_LONG_AS_AGREED = "as long as the member agrees"
UNTIL_AGREED = "until the member agrees"
AS_LONG_AS_THE_FILE = "as long as the file"
TEXT_DAYS = "`retention_days`"
LEAVES = "when the member forgets or withdraws"
SERVER_LEAVES = "when a manager changes or removes it; a week after the bot left the server"
A_MONTH = "30 days after the first report"
REPLY_LEAVES = "when the asker forgets or withdraws, or the reply is deleted"
FEEDBACK_LEAVES = "when taken back, when reactor or asker forgets or withdraws, or the reply is deleted"
PREFERENCE_LEAVES = (
    "when undone, when the member starts over, forgets or withdraws, or a reply it is about is deleted"
)
REMARK_LEAVES = "when taken back, when teller or asker forgets or withdraws, or the reply is deleted"
WISH_LEAVES = "when cleared or changed, or when the member forgets or withdraws"
STAYS = "stays; about nobody"


def _columns(table: str, whose: Whose, erased: str, **columns: tuple[Form, str]) -> tuple[Kept, ...]:
    about_nobody = whose in (Whose.NOBODY, Whose.ALL, Whose.SERVER)
    retention = AS_LONG_AS_THE_FILE if about_nobody else AS_LONG_AS_AGREED
    return tuple(
        Kept(table, name, whose, form, what, erased, retention) for name, (form, what) in columns.items()
    )


PERSONAL_DATA: tuple[Kept, ...] = (
    *_columns(
        "members",
        Whose.MEMBER,
        LEAVES,
        member_id=(Form.PSEUDONYM, "the person in this server"),
        person=(Form.PSEUDONYM, "the person, to forget everywhere at once"),
        guild=(Form.PSEUDONYM, "the server"),
        decided_at=(Form.PLAIN, "when the member decided"),
        changed_seq=(Form.PLAIN, "running number of the latest change of feedback"),
        key_id=(Form.PSEUDONYM, "random number of the key that seals the member's data"),
        paused=(Form.PLAIN, "whether the member paused learning"),
        resumed_at=(Form.PLAIN, "when the member last let it go on"),
    ),
    Kept(
        "members",
        "standing",
        Whose.MEMBER,
        Form.PLAIN,
        "the decision: agreed, refused, or on the way out",
        "with forget; a no stays until the member agrees, so that nobody asks again",
        AS_LONG_AS_AGREED,
    ),
    *_columns(
        "replies",
        Whose.ASKER,
        REPLY_LEAVES,
        reply_id=(Form.PLAIN, "running number of the reply"),
        member_id=(Form.PSEUDONYM, "the asker"),
        channel=(Form.PSEUDONYM, "the channel"),
        created_at=(Form.PLAIN, "when it was posted"),
        feature_id=(Form.PLAIN, "which models described the reply"),
        features=(Form.SEALED, "numbers that describe the bot's text"),
        decision=(Form.SEALED, "styles, scores and chances of the candidates, which was posted, and why"),
    ),
    Kept(
        "replies",
        "texts",
        Whose.ASKER,
        Form.SEALED,
        "the bot's candidate texts",
        REPLY_LEAVES,
        TEXT_DAYS,
    ),
    *_columns(
        "messages",
        Whose.ASKER,
        REPLY_LEAVES,
        message=(Form.PSEUDONYM, "a Discord message of the bot"),
        reply_id=(Form.PLAIN, "the reply it is part of"),
        position=(Form.PLAIN, "which part"),
        place=(Form.SEALED, "server, channel and message id, to read missed reactions back"),
    ),
    *_columns(
        "feedback",
        Whose.REACTOR,
        FEEDBACK_LEAVES,
        member_id=(Form.PSEUDONYM, "the reactor"),
        reply_id=(Form.PLAIN, "the reply"),
        changed_seq=(Form.PLAIN, "running number of the change"),
        changed_at=(Form.PLAIN, "when it last changed"),
        state=(Form.SEALED, "the emoji that stand now, which of them were undone, and the rating"),
    ),
    *(
        Kept("reports", column, Whose.ASKER, form, what, f"{REPLY_LEAVES}, or a manager decided", A_MONTH)
        for column, form, what in (
            ("reply_id", Form.PLAIN, "the reply that somebody reported; nothing says who"),
            ("reported_at", Form.PLAIN, "when it was reported first"),
            ("version", Form.PLAIN, "running number of the change"),
            ("reasons", Form.SEALED, "how often for which reason"),
        )
    ),
    *_columns(
        "faq",
        Whose.SERVER,
        SERVER_LEAVES,
        entry_id=(Form.PLAIN, "running number of the entry"),
        guild=(Form.PSEUDONYM, "the server"),
        version=(Form.PLAIN, "running number of the change"),
        body=(Form.SEALED, "a question and the answer to it, as handed over for the server by its managers"),
    ),
    *_columns(
        "safety_rules",
        Whose.SERVER,
        SERVER_LEAVES,
        guild=(Form.PSEUDONYM, "the server"),
        version=(Form.PLAIN, "running number of the change"),
        body=(Form.SEALED, "how strict the bot is there, and which words it never posts"),
    ),
    *_columns(
        "preferences",
        Whose.MEMBER,
        PREFERENCE_LEAVES,
        preference_id=(Form.PLAIN, "running number of the choice"),
        member_id=(Form.PSEUDONYM, "the member who chose"),
        first_reply=(Form.PLAIN, "the reply that the first of the two was written for"),
        second_reply=(Form.PLAIN, "the reply that the second was written for"),
        told_at=(Form.PLAIN, "when"),
        feature_id=(Form.PLAIN, "which models described both"),
        features=(Form.SEALED, "numbers that describe the bot's two texts"),
        choice=(Form.SEALED, "which of the two was picked, or that another answer was asked for"),
    ),
    *_columns(
        "remarks",
        Whose.REACTOR,
        REMARK_LEAVES,
        member_id=(Form.PSEUDONYM, "who told it"),
        reply_id=(Form.PLAIN, "the reply"),
        changed_seq=(Form.PLAIN, "running number of the change"),
        told_at=(Form.PLAIN, "when"),
        reasons=(Form.SEALED, "what was wrong with the reply, ticked in a list"),
    ),
    Kept(
        "remarks",
        "words",
        Whose.REACTOR,
        Form.SEALED,
        "the same in the member's own words, handed over on purpose; nothing is learnt from them",
        REMARK_LEAVES,
        TEXT_DAYS,
    ),
    *_columns(
        "heads",
        Whose.MEMBER,
        LEAVES,
        member_id=(Form.PSEUDONYM, "the member"),
        version=(Form.PLAIN, "the round that made it"),
        n_labels=(Form.PLAIN, "how many labels it rests on"),
        trained_at=(Form.PLAIN, "when it was made"),
        body=(Form.SEALED, "the learnt taste, as numbers"),
        rolled_back=(Form.PLAIN, "whether the average taste answers, as the own one did not predict better"),
    ),
    *_columns(
        "wishes",
        Whose.MEMBER,
        WISH_LEAVES,
        member_id=(Form.PSEUDONYM, "the member"),
        changed_at=(Form.PLAIN, "when it was last changed"),
        number=(Form.PLAIN, "running number of the change"),
        body=(Form.SEALED, "what the member set with `/style`: presets and own words"),
    ),
    *_columns(
        "prior",
        Whose.ALL,
        "whenever a member who agreed leaves; learnt anew from the others",
        id=(Form.PLAIN, "always 1"),
        n_members=(Form.PLAIN, "how many members taught it"),
        trained_at=(Form.PLAIN, "when it was made"),
        body=(
            Form.SEALED,
            "the average taste of all and of large servers, and what emoji mean to many, as numbers",
        ),
    ),
    *_columns(
        "rounds",
        Whose.NOBODY,
        STAYS,
        version=(Form.PLAIN, "running number of the round"),
        started_at=(Form.PLAIN, "when it started"),
        finished_at=(Form.PLAIN, "when it ended"),
        cursor=(Form.PLAIN, "the last change it took in"),
        n_members=(Form.PLAIN, "how many members"),
        n_labels=(Form.PLAIN, "how many labels"),
        device=(Form.PLAIN, "where it was computed"),
        n_rolled_back=(Form.PLAIN, "for how many members the average taste answers"),
        fence=(Form.PLAIN, "running number of the process that trained"),
    ),
    *(
        Kept(
            "departures", column, Whose.NOBODY, form, what, STAYS, "a week, or until the bot is invited again"
        )
        for column, form, what in (
            ("guild", Form.PSEUDONYM, "a server that the bot has left"),
            ("left_at", Form.PLAIN, "when"),
        )
    ),
    *(
        Kept("guild_settings", column, Whose.SERVER, form, what, SERVER_LEAVES, "until it is changed")
        for column, form, what in (
            ("guild", Form.PSEUDONYM, "a server with settings of its own"),
            ("version", Form.PLAIN, "running number of the change"),
            (
                "body",
                Form.SEALED,
                "persona, model, channels, limits, and whom the bot answers there: roles and channels by "
                "number, members as keyed hashes",
            ),
            ("emoji", Form.SEALED, "what the server's own emoji mean"),
        )
    ),
    *_columns(
        "notes",
        Whose.NOBODY,
        STAYS,
        key=(Form.PLAIN, "name of a note of the program to itself"),
        value=(Form.PLAIN, "the note"),
    ),
    *_columns(
        "origin",
        Whose.NOBODY,
        STAYS,
        id=(Form.PLAIN, "always 1"),
        key_check=(Form.PSEUDONYM, "which keys this file belongs to"),
        last_number=(Form.PLAIN, "the last running number given"),
        fence=(Form.PLAIN, "running number of the process that trains"),
    ),
    *_columns(
        "system_keys",
        Whose.NOBODY,
        STAYS,
        name=(Form.PLAIN, "name of the key"),
        wrapped=(Form.SEALED, "the keys for pseudonyms and for the prior"),
    ),
    *_columns(
        "member_keys",
        Whose.MEMBER,
        f"first of all, {LEAVES}",
        member_id=(Form.PSEUDONYM, "the member"),
        key_id=(Form.PSEUDONYM, "random number of the key"),
        person=(Form.PSEUDONYM, "the person, to destroy their keys everywhere at once"),
        wrapped=(Form.SEALED, A_KEY),
    ),
    *_columns(
        "erased_keys",
        Whose.NOBODY,
        STAYS,
        key_hash=(Form.PSEUDONYM, "number of a destroyed key, so that no backup brings it back"),
    ),
    *(
        Kept("refusals", column, Whose.MEMBER, form, what, "when the member agrees", UNTIL_AGREED)
        for column, form, what in (
            ("member_id", Form.PSEUDONYM, "a member who said no"),
            ("person", Form.PSEUDONYM, "the person"),
            ("guild", Form.PSEUDONYM, "the server"),
            ("decided_at", Form.PLAIN, "when"),
        )
    ),
    *_columns(
        "ledger_origin",
        Whose.NOBODY,
        STAYS,
        id=(Form.PLAIN, "always 1"),
        key_check=(Form.PSEUDONYM, "which keys this file belongs to"),
        changes=(Form.PLAIN, "how often the ledger was changed"),
    ),
)


TABLES = {
    "members": "who decided what",
    "replies": "what the bot posted",
    "messages": "where a reply stands in Discord",
    "feedback": "reactions and ratings",
    "preferences": "choices between two replies",
    "remarks": "what was wrong with a reply, told in private",
    "reports": "replies that somebody reported",
    "faq": "questions of a server and the answers to them",
    "safety_rules": "how strict the bot is in a server",
    "heads": "learnt tastes",
    "wishes": "how members wish to be answered",
    "prior": "the average taste",
    "rounds": "training runs",
    "departures": "servers that the bot left",
    "guild_settings": "what those who manage a server set for it",
    "notes": "notes of the program to itself",
    "origin": "what this file belongs to",
    "system_keys": "in `keys.db`: keys of the program",
    "member_keys": "in `keys.db`: one data key per member",
    "erased_keys": "in `ledger.db`: which keys were destroyed",
    "refusals": "in `ledger.db`: who said no",
    "ledger_origin": "in `ledger.db`: what it belongs to",
}
"""Every table and what it holds, in the order of the page."""

NOT_REMOVED: tuple[tuple[str, str], ...] = (
    ("Discord's own copy of every message and reaction", "it is Discord's; ask Discord"),
    ("the replies that the bot posted", "they stay in Discord until somebody deletes them there"),
    ("counts and times of training runs", "they are about nobody: how many members and labels, not whose"),
    (
        "a no",
        "a keyed hash of your id remembers it, so that nobody asks you again; it goes when you agree",
    ),
    (
        "the number of your destroyed key, as a keyed hash in `ledger.db`",
        "it is about nobody any more, and keeps a restored backup from bringing you back",
    ),
    (
        "a block by those who manage a server",
        "a keyed hash in the server's sealed settings keeps the bot from answering you there; it goes when "
        "they lift it, or with the server. `/limits` tells you whether you are blocked",
    ),
    (
        "what a server's managers handed over with `/faq` and `/safety`",
        "it is the server's; nothing says who wrote it, so nobody's forget can find it. Managers remove it",
    ),
    ("running numbers", "they only grow, so a gap shows that something was there, not what or whose"),
    ("what stands in the computer's memory", "it is overwritten by chance, not on purpose"),
    ("old blocks of a disk", "snapshots of a file system and the spare area of an SSD keep copies of files"),
    (
        "copies of the key folder made before you left, together with copies of the data",
        "whoever runs the bot has to delete those of the keys; then those of the data are noise. Restored "
        "alone, either is purged at the next start; restored with an older `ledger.db` too, nobody can tell",
    ),
)
"""What forgetting does not reach, and why."""

_GENERATED = re.compile(r"(?<=<!-- written by `make privacy` -->\n\n).*(?=\n<!-- end -->)", re.DOTALL)


def markdown(table: str) -> str:
    """The rows of one table as ``docs/privacy.md`` shows them."""
    head = "| column | what | whose | form | stays | goes |\n|---|---|---|---|---|---|"
    rows = (
        f"| `{kept.column}` | {kept.what} | {kept.whose} | {kept.form} | {kept.retention} | {kept.erased} |"
        for kept in PERSONAL_DATA
        if kept.table == table
    )
    return "\n".join([head, *rows])


def page(text: str) -> str:
    """The privacy page with its generated part written anew.

    Raises:
        ValueError: The page has no place for it.
    """
    left = (textwrap.fill(f"* **{w}**: {why}.", 120, subsequent_indent="  ") for w, why in NOT_REMOVED)
    parts = ["## What is not removed\n\n" + "\n".join(left)]
    parts.append(
        "## Every column\n\nFrom `storage/privacy/personal_data.py`; a test compares it with the database."
    )
    parts += [f"### `{table}`: {holds}\n\n{markdown(table)}" for table, holds in TABLES.items()]
    if not _GENERATED.search(text):
        raise ValueError("expected the lines <!-- written by `make privacy` --> and <!-- end --> in the page")
    return _GENERATED.sub(lambda _: "\n\n".join(parts) + "\n", text)


def main(arguments: Sequence[str]) -> None:
    """Write the generated part into the page that is named."""
    path = Path(arguments[0])
    path.write_text(page(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
