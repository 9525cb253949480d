"""Every stored column: whom it is about, its form, how long it stays, and what deletes it.

A test compares this list with the schema, so no column can be added without these answers.
``docs/privacy.md`` shows the list to members (:mod:`storage.privacy.personal_data.privacy_page`).
"""

from __future__ import annotations

from storage.privacy.personal_data.kept import A_KEY, Form, Kept, Whose

AS_LONG_AS_AGREED = "as long as the member agrees"
UNTIL_AGREED = "until the member agrees"
AS_LONG_AS_THE_FILE = "as long as the file exists"
TEXT_DAYS = "`retention_days` days"
LEAVES = "when the member forgets or withdraws"
SERVER_LEAVES = "when a manager changes or removes it, or a week after the bot left the server"
A_MONTH = "30 days after the first report"
REPLY_LEAVES = "when the asker forgets or withdraws, or the reply is deleted"
FEEDBACK_LEAVES = "when taken back, reactor or asker forgets or withdraws, or the reply is deleted"
PREFERENCE_LEAVES = (
    "when it is undone, the member starts over, forgets or withdraws, or a reply it is about is deleted"
)
REMARK_LEAVES = "when it is taken back, its author or the asker forgets or withdraws, or the reply is deleted"
WISH_LEAVES = (
    "presets and words: when cleared or changed; what is switched off: when switched on; all: when the member"
    " forgets or withdraws"
)
STAYS = "never; it is about nobody"


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
        person=(Form.PSEUDONYM, "the person, so that forgetting works in every server at once"),
        guild=(Form.PSEUDONYM, "the server"),
        decided_at=(Form.PLAIN, "when the member decided"),
        changed_seq=(Form.PLAIN, "sequence number of the latest change of feedback"),
        key_id=(Form.PSEUDONYM, "random number of the key that seals the member's data"),
        paused=(Form.PLAIN, "whether the member paused learning"),
        resumed_at=(Form.PLAIN, "when the member last resumed learning"),
    ),
    Kept(
        "members",
        "standing",
        Whose.MEMBER,
        Form.PLAIN,
        "the decision: agreed, refused, or being deleted",
        "when the member forgets; a refusal stays until the member agrees, so that the bot never asks again",
        AS_LONG_AS_AGREED,
    ),
    *_columns(
        "replies",
        Whose.ASKER,
        REPLY_LEAVES,
        reply_id=(Form.PLAIN, "sequence number of the reply"),
        member_id=(Form.PSEUDONYM, "the asker"),
        channel=(Form.PSEUDONYM, "the channel"),
        created_at=(Form.PLAIN, "when it was posted"),
        feature_id=(Form.PLAIN, "which models described the reply"),
        features=(Form.SEALED, "numbers that describe the bot's text"),
        decision=(
            Form.SEALED,
            "styles and rounded probabilities of the candidates, the favourite, which was posted, by which"
            " model, under which learnt wish and with or without examples, and why; whether the reply may"
            " repeat words of the conversation (yes or no)",
        ),
    ),
    Kept(
        "replies",
        "texts",
        Whose.ASKER,
        Form.SEALED,
        "the bot's candidate texts; the file of /my-data holds the posted one",
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
        place=(Form.SEALED, "ids of server, channel and message, to read back missed reactions"),
    ),
    *_columns(
        "feedback",
        Whose.REACTOR,
        FEEDBACK_LEAVES,
        member_id=(Form.PSEUDONYM, "the reactor"),
        reply_id=(Form.PLAIN, "the reply"),
        changed_seq=(Form.PLAIN, "sequence number of the change"),
        changed_at=(Form.PLAIN, "when it last changed"),
        state=(Form.SEALED, "the current emoji, which of them were undone, and the rating"),
    ),
    *(
        Kept(
            "reports",
            column,
            Whose.ASKER,
            form,
            what,
            f"{REPLY_LEAVES}, or a manager handles the report",
            A_MONTH,
        )
        for column, form, what in (
            ("reply_id", Form.PLAIN, "the reported reply; who reported it is not stored"),
            ("reported_at", Form.PLAIN, "when it was first reported"),
            ("version", Form.PLAIN, "sequence number of the change"),
            ("reasons", Form.SEALED, "reasons, and how often each was given"),
        )
    ),
    *_columns(
        "faq",
        Whose.SERVER,
        SERVER_LEAVES,
        entry_id=(Form.PLAIN, "sequence number of the entry"),
        guild=(Form.PSEUDONYM, "the server"),
        version=(Form.PLAIN, "sequence number of the change"),
        body=(Form.SEALED, "a question and its answer, as a manager of the server entered them"),
    ),
    *_columns(
        "safety_rules",
        Whose.SERVER,
        SERVER_LEAVES,
        guild=(Form.PSEUDONYM, "the server"),
        version=(Form.PLAIN, "sequence number of the change"),
        body=(Form.SEALED, "how strict the bot is in this server, and which words it never posts"),
    ),
    *_columns(
        "preferences",
        Whose.MEMBER,
        PREFERENCE_LEAVES,
        preference_id=(Form.PLAIN, "sequence number of the choice"),
        member_id=(Form.PSEUDONYM, "the member who chose"),
        first_reply=(Form.PLAIN, "the reply whose candidate was the first of the two"),
        second_reply=(Form.PLAIN, "the reply whose candidate was the second of the two"),
        told_at=(Form.PLAIN, "when the member chose"),
        feature_id=(Form.PLAIN, "which models described both"),
        features=(Form.SEALED, "numbers that describe the bot's two texts"),
        choice=(
            Form.SEALED,
            "which was picked (and pair and row of the six taps, with what was picked, when and in which row"
            " before, if the two texts were the same), or a request for another answer",
        ),
    ),
    *_columns(
        "remarks",
        Whose.REACTOR,
        REMARK_LEAVES,
        member_id=(Form.PSEUDONYM, "the author"),
        reply_id=(Form.PLAIN, "the reply"),
        changed_seq=(Form.PLAIN, "sequence number of the change"),
        told_at=(Form.PLAIN, "when it was written"),
        reasons=(Form.SEALED, "what was wrong with the reply, ticked in a list"),
    ),
    Kept(
        "remarks",
        "words",
        Whose.REACTOR,
        Form.SEALED,
        "the same in the member's own words, sent on purpose; the bot does not learn from them",
        REMARK_LEAVES,
        TEXT_DAYS,
    ),
    *_columns(
        "heads",
        Whose.MEMBER,
        LEAVES,
        member_id=(Form.PSEUDONYM, "the member"),
        version=(Form.PLAIN, "the training run that made it"),
        n_labels=(Form.PLAIN, "number of labels behind it"),
        trained_at=(Form.PLAIN, "when it was made"),
        body=(Form.SEALED, "the learnt taste and how certain it is, as numbers"),
        rolled_back=(
            Form.PLAIN,
            "whether the average taste is used, because the own one did not predict better",
        ),
    ),
    *_columns(
        "wishes",
        Whose.MEMBER,
        WISH_LEAVES,
        member_id=(Form.PSEUDONYM, "the member"),
        changed_at=(Form.PLAIN, "when it was last changed"),
        number=(Form.PLAIN, "sequence number of the change"),
        body=(Form.SEALED, "wishes of `/style`: presets and own words; what is switched off in `/feedback`"),
    ),
    *_columns(
        "prior",
        Whose.ALL,
        "when any member who agreed leaves; then it is learnt again without them",
        id=(Form.PLAIN, "always 1"),
        n_members=(Form.PLAIN, "number of members it was learnt from"),
        trained_at=(Form.PLAIN, "when it was made"),
        body=(
            Form.SEALED,
            "the average taste of all members and of large servers, and what emoji mean to many, as numbers",
        ),
    ),
    *_columns(
        "rounds",
        Whose.NOBODY,
        STAYS,
        version=(Form.PLAIN, "sequence number of the training run"),
        started_at=(Form.PLAIN, "when it started"),
        finished_at=(Form.PLAIN, "when it ended"),
        cursor=(Form.PLAIN, "sequence number of the last change it processed"),
        n_members=(Form.PLAIN, "number of members"),
        n_labels=(Form.PLAIN, "number of labels"),
        device=(Form.PLAIN, "device that computed it"),
        n_rolled_back=(Form.PLAIN, "number of members for whom the average taste is used"),
        fence=(Form.PLAIN, "fencing number of the process that trained"),
    ),
    *(
        Kept(
            "departures", column, Whose.NOBODY, form, what, STAYS, "a week, or until the bot is invited again"
        )
        for column, form, what in (
            ("guild", Form.PSEUDONYM, "a server that the bot has left"),
            ("left_at", Form.PLAIN, "when the bot left"),
        )
    ),
    *(
        Kept("seen_servers", column, Whose.NOBODY, form, what, STAYS, "until the bot leaves the server")
        for column, form, what in (
            ("guild", Form.PSEUDONYM, "a server that the bot is in"),
            ("shard", Form.PLAIN, "the shard that owned it when it was seen"),
            ("shards", Form.PLAIN, "number of shards then"),
            ("seen", Form.PLAIN, "number of the last list that named it"),
        )
    ),
    *_columns(
        "shard_lists",
        Whose.NOBODY,
        STAYS,
        shards=(Form.PLAIN, "number of shards of the bot"),
        shard=(Form.PLAIN, "a shard"),
        session=(Form.PLAIN, "hash of the name of its latest session"),
        latest=(Form.PLAIN, "number of the latest list of its servers"),
        earlier=(Form.PLAIN, "number of the latest list of an earlier session"),
    ),
    *(
        Kept("guild_settings", column, Whose.SERVER, form, what, SERVER_LEAVES, "until it is changed")
        for column, form, what in (
            ("guild", Form.PSEUDONYM, "a server with settings of its own"),
            ("version", Form.PLAIN, "sequence number of the change"),
            (
                "body",
                Form.SEALED,
                "persona, model, channels, limits, and whom the bot answers there: roles and channels by id, "
                "members as keyed hashes",
            ),
            ("emoji", Form.SEALED, "what the server's own emoji mean"),
        )
    ),
    *_columns(
        "notes",
        Whose.NOBODY,
        STAYS,
        key=(Form.PLAIN, "name of an internal note of the program"),
        value=(Form.PLAIN, "the note"),
    ),
    *_columns(
        "origin",
        Whose.NOBODY,
        STAYS,
        id=(Form.PLAIN, "always 1"),
        key_check=(Form.PSEUDONYM, "check value of the keys that this file belongs to"),
        last_number=(Form.PLAIN, "the last sequence number given"),
        fence=(Form.PLAIN, "fencing number of the process that trains"),
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
        f"{LEAVES}, before everything else",
        member_id=(Form.PSEUDONYM, "the member"),
        key_id=(Form.PSEUDONYM, "random number of the key"),
        person=(Form.PSEUDONYM, "the person, so that their keys are destroyed in every server at once"),
        wrapped=(Form.SEALED, A_KEY),
    ),
    *_columns(
        "erased_keys",
        Whose.NOBODY,
        STAYS,
        key_hash=(Form.PSEUDONYM, "hash of a destroyed key's number, so that no backup brings it back"),
    ),
    *(
        Kept("refusals", column, Whose.MEMBER, form, what, "when the member agrees", UNTIL_AGREED)
        for column, form, what in (
            ("member_id", Form.PSEUDONYM, "a member who refused"),
            ("person", Form.PSEUDONYM, "the person"),
            ("guild", Form.PSEUDONYM, "the server"),
            ("decided_at", Form.PLAIN, "when the member refused"),
        )
    ),
    *_columns(
        "ledger_origin",
        Whose.NOBODY,
        STAYS,
        id=(Form.PLAIN, "always 1"),
        key_check=(Form.PSEUDONYM, "check value of the keys that this file belongs to"),
        changes=(Form.PLAIN, "number of changes of the ledger"),
    ),
)
