"""A member whose traces are all known: markers planted through every path that stores something.

Alice's ids and texts occur nowhere else, so :data:`MARKERS` finds any of them in plain text. :func:`traces`
reads the ciphertexts and pseudonyms of her rows from the files, so that a scan after a forget can prove that
they are gone as well.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from storage.keys.wrapping import member_slot
from storage.members.wishes import Wish
from storage.privacy.personal_data import PERSONAL_DATA, Form, Whose
from storage.records import Impression, NewHead, Pick, Picked, Place, PriorRecord, Remark, Who
from storage.servers.faq import FaqEntry
from storage.servers.safety_rules import ServerRules
from storage.servers.stored_settings import GuildRecord
from storage.store import Store
from tests.rig.canary import Canaries, Hit
from tests.unit.storage.given import BOB, START, posted, round_of

ALICE = Who(guild_id=711_222_333_444_555_666, user_id=822_333_444_555_666_777)
CHANNEL = 933_444_555_666_777_888
MESSAGES = (1_044_555_666_777_888_999, 1_055_666_777_888_999_000)
ONE, TWO = "Zaubertext-kandidat-eins", "Zäubertext-kandidat-zwei"
STYLE, POLICY = "stilmarke-knapp", "regelmarke-epsilon"
FEATURES, EMOJI = "merkmalmarke-sechzehn", "emojimarke:123456789"
RUDE, TERM = "grundmarke-grob", "wortmarke-gesperrt"
QUESTION, ANSWER = "fragemarke-wann", "antwortmarke-montags"
HEAD, PRIOR = "kopfmarke-gewichte", "mittelmarke-prior"
REASON, REMARK = "grundmarke-zu-lang", "wortmarke im Vertrauen gesagt"
WISH = "wunschmarke-wie-ein-pirat"
VECTOR = np.random.default_rng(7).standard_normal(64).astype(np.float32)
WEIGHTS = np.random.default_rng(8).standard_normal(64).astype(np.float16)

MARKERS = Canaries()
SAID = (RUDE, TERM, QUESTION, ANSWER, REASON, REMARK, WISH)
for _text in (ONE, TWO, STYLE, POLICY, FEATURES, EMOJI, HEAD, PRIOR, *SAID):
    MARKERS.text(_text, _text)
for _name, _id in {"guild": ALICE.guild_id, "user": ALICE.user_id, "channel": CHANNEL}.items():
    MARKERS.id(_name, _id)
for _id in MESSAGES:
    MARKERS.id("message", _id)


async def plant(store: Store) -> None:
    """Store Alice's markers through every path that stores data about a member; Bob is a second member."""
    impression = Impression(
        candidates=(ONE, TWO),
        styles=(STYLE, STYLE),
        chosen=0,
        scores=(0.0, 1.0),
        prior_scores=(0.0, 1.0),
        propensities=(0.5, 0.5),
        policy=POLICY,
        head_version=0,
        feature_id="plain",
        features=FEATURES.encode() + VECTOR.astype("<f4").tobytes(),
    )
    await posted(store, BOB, 1)
    await store.consent.record(ALICE)
    reply_id = await store.replies.record(ALICE, Place(CHANNEL, MESSAGES), impression)
    for who in (ALICE, BOB):
        await store.feedback.record_reaction(who, MESSAGES[0], EMOJI, added=True)
        await store.feedback.record_reaction(who, MESSAGES[1], EMOJI, added=True, burst=True)
        await store.feedback.record_reaction(who, MESSAGES[1], EMOJI, added=False, burst=True)
    await store.feedback.record_rating(ALICE, reply_id, 5)
    await store.feedback.record_reaction(ALICE, 1, EMOJI, added=True)
    await store.remarks.record(ALICE, reply_id, Remark((REASON,), REMARK))
    await store.preferences.record_pick(
        ALICE, Pick(Picked.FIRST, "plain", FEATURES.encode(), VECTOR.astype("<f4").tobytes(), reply_id)
    )
    second = await store.replies.record(ALICE, Place(CHANNEL, (77,)), impression)
    await store.preferences.record_another(ALICE, reply_id, second)
    await store.wishes.put(ALICE, Wish(("short",), WISH))
    await store.reports.record(store.guild_id(ALICE), MESSAGES[1], RUDE)
    # A server's data carries its pseudonym as long as the server exists, so this belongs to Bob's server.
    guild = store.guild_id(BOB)
    await store.faq.add(guild, FaqEntry(QUESTION, ANSWER))
    await store.safety.record(guild, ServerRules("strict", (TERM,)))
    await store.learning.record_prior(PriorRecord(PRIOR.encode(), 2, START))
    await round_of(store, NewHead(store.member_id(ALICE), HEAD.encode() + WEIGHTS.tobytes(), 3))
    await store.guild_settings.change(
        BOB.guild_id, lambda _: GuildRecord({"blocked": [store.guild_settings.name_of(ALICE)]})
    )
    await store.notes.put("commands", "not personal")


def secrets_of(folder: Path, store: Store) -> list[bytes]:
    """Unwrap Alice's data key, which exists only in memory."""
    member_id = store.member_id(ALICE)
    raw = sqlite3.connect(folder / "keys" / "keys.db")
    rows = raw.execute("SELECT wrapped FROM member_keys WHERE member_id = ?", (member_id,)).fetchall()
    raw.close()
    return [store._keys._wrapping.latest.open(wrapped, member_slot(member_id)) for (wrapped,) in rows]


def in_clear(folder: Path) -> list[Hit]:
    """Find Alice's markers in any file except the key file, which is random bytes by design."""
    return MARKERS.in_folder(folder, but=["master.key"])


def traces(folder: Path, store: Store) -> Canaries:
    """Collect every ciphertext and pseudonym of Alice's rows from the files, in pieces of 16 bytes."""
    member_id = store.member_id(ALICE)
    mine = {
        "messages": "reply_id IN (SELECT reply_id FROM replies WHERE member_id = ?)",
        "feedback": "reply_id IN (SELECT reply_id FROM replies WHERE member_id = ?)",
        "reports": "reply_id IN (SELECT reply_id FROM replies WHERE member_id = ?)",
        "prior": "? = ?",
        "guild_settings": "? IS NULL",  # belongs to the server and stays, as a refusal does
    }
    bobs = {store._keys.pseudonyms.guild(BOB), store.member_id(BOB)}
    found = Canaries()
    for path in (folder / "data" / "data.db", folder / "keys" / "keys.db"):
        raw = sqlite3.connect(path)
        present = {name for (name,) in raw.execute("SELECT name FROM sqlite_master")}
        for kept in PERSONAL_DATA:
            if (
                kept.table in present
                and kept.whose not in (Whose.NOBODY, Whose.SERVER)
                and kept.form is not Form.PLAIN
            ):
                where = mine.get(kept.table, "member_id = ?")
                query = f"SELECT {kept.column} FROM {kept.table} WHERE {where}"
                for (value,) in raw.execute(query, (member_id,) * where.count("?")):
                    if value and value not in bobs:
                        found.value(f"{kept.table}.{kept.column}", value)
        raw.close()
    return found
