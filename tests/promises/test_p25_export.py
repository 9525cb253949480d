"""P25: a member can take their data with them.

``/my-data`` returns every stored field of the member. Each column that
``storage/privacy/personal_data/columns.py`` lists as one member's is in the file (or the proof names it and
fails), with the stored values, decrypted. Only the member sees it. It covers every server of the member, and
nothing of anybody else.

The kind of a reply is in it, without the shares that rest on the likes of others.

Control: an export without one column fails the same check; a sealed column without an opener raises. An
export of whole decisions shows the shares.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from bot.ui.data_export import Part, _Parts
from storage.members.wishes import Wish
from storage.privacy import export
from storage.privacy.personal_data import PERSONAL_DATA
from storage.records import NewHead, Pick, Picked, Place, Remark, Seat, Who
from storage.store import Store
from tests.rig.canary import Canaries
from tests.unit.storage.given import (
    ALICE,
    CHANNEL,
    FIRST,
    GUILD,
    IMPRESSION,
    SECOND,
    posted,
    round_of,
    settings_in,
)

pytestmark = pytest.mark.promise("P25")

BOB = Who(GUILD, 915_736_482_915_736_482)
PERSONAL = {(kept.table, kept.column) for kept in PERSONAL_DATA if kept.exported}


def parts_of(contents, most: int) -> list[Part]:
    """Cut contents into parts."""
    parts = _Parts(most)
    return [*(part for content in contents for part in parts.add(content)), *parts.end()]


def fields(exported) -> set[tuple[str, str]]:
    return {(table, column) for table, rows in exported.items() for row in rows for column in row}


async def lived(store: Store) -> None:
    """Alice and Bob each asked and like both replies; both have heads; Alice refused in another server."""
    await posted(store, ALICE, FIRST)
    await posted(store, BOB, SECOND)
    for who in (ALICE, BOB):
        reply_id = (await store.replies.latest(who)).reply_id
        await store.preferences.record_pick(who, Pick(Picked.EQUAL, "hash-4", b"one", b"two", reply_id))
        await store.remarks.record(who, reply_id, Remark(("too long",), f"said by {who.user_id}"))
        for message_id in (FIRST, SECOND):
            await store.feedback.record_reaction(who, message_id, "👍", added=True)
    await store.wishes.put(ALICE, Wish(("short",), "like a pirate", ("emoji",)))
    await store.reports.record(store.guild_id(ALICE), FIRST, "rude")
    await round_of(
        store, *(NewHead(store.member_id(who), b"head of %d" % who.user_id, 2) for who in (ALICE, BOB))
    )
    await store.privacy.refuse(Who(7, ALICE.user_id))


async def test_every_field_that_is_the_members_is_in_it_opened(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await lived(store)

        (here, exported), (_, elsewhere) = await store.privacy.export(ALICE)

        names = {**exported, "refusals": elsewhere["refusals"]}
        assert PERSONAL - fields(names) == set()
        assert here == store.member_id(ALICE)
        (reply,) = exported["replies"]
        assert reply["texts"] == [IMPRESSION.candidates[IMPRESSION.chosen]]
        assert base64.b64decode(reply["features"]) == IMPRESSION.features
        assert reply["decision"]["propensity"] == 0.95
        assert not {"scores", "prior_scores", "propensities"} & set(reply["decision"])
        assert exported["messages"][0]["place"][1] == FIRST
        assert [row["reasons"] for row in exported["reports"]] == [{"rude": 1}]
        assert [row["state"]["reactions"] for row in exported["feedback"]] == [[[0, "👍", False]]] * 2
        assert exported["preferences"][0]["choice"] == {"picked": "equal", "candidates": [0, 1]}
        (remark,) = exported["remarks"]
        assert (remark["reasons"], remark["words"]) == (["too long"], f"said by {ALICE.user_id}")
        assert exported["heads"][0]["body"] == {"bytes": len(b"head of %d" % ALICE.user_id)}
        wished = {"presets": ["short"], "words": "like a pirate", "unwanted": ["emoji"]}
        assert exported["wishes"][0]["body"] == wished
        assert elsewhere["members"][0]["standing"] == "refused"


async def test_the_kind_of_a_reply_is_in_it_without_what_it_tells_about_others(tmp_path):
    seat = Seat(2, "warm", "small", "shorter", True, (0.4, 0.6, 0.5, 0.25))
    async with await Store.open(settings_in(tmp_path)) as store:
        await store.consent.record(ALICE)
        await store.replies.record(ALICE, Place(CHANNEL, (FIRST,)), replace(IMPRESSION, seat=seat))

        ((_, exported),) = await store.privacy.export(ALICE)

        # The shares rest on the likes of others, so they would tell about them.
        kind = {"style": "warm", "writer": "small", "wish": "shorter", "examples": True}
        assert exported["replies"][0]["decision"]["seat"] == kind


async def test_control_an_export_of_the_whole_decision_would_show_the_shares(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "exported", lambda decision: decision)
    seat = Seat(2, "warm", shares=(0.4, 0.6, 0.5, 0.25))
    async with await Store.open(settings_in(tmp_path)) as store:
        await store.consent.record(ALICE)
        await store.replies.record(ALICE, Place(CHANNEL, (FIRST,)), replace(IMPRESSION, seat=seat))

        ((_, shown),) = await store.privacy.export(ALICE)

        assert shown["replies"][0]["decision"]["seat"]["shares"] == [0.4, 0.6, 0.5, 0.25]


async def test_nothing_of_anybody_else_is_in_it(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await lived(store)
        bob = store.member_id(BOB)
        others = (
            Canaries()
            .id("bob", BOB.user_id)
            .secret("bob's pseudonym", bob)
            .text("bob's head", f"head of {BOB.user_id}")
        )

        text = json.dumps([exported for _, exported in await store.privacy.export(ALICE)])

    assert others.in_text([text]) == []


async def test_control_a_table_that_is_left_out_fails_the_check(tmp_path, monkeypatch):
    monkeypatch.delitem(export._OWN, "messages")
    async with await Store.open(settings_in(tmp_path)) as store:
        await lived(store)

        (_, exported), _ = await store.privacy.export(ALICE)

    assert ("messages", "place") in PERSONAL - fields(exported)


async def test_control_a_sealed_column_without_an_opener_raises(tmp_path, monkeypatch):
    monkeypatch.delitem(export._OPENERS, ("feedback", "state"))
    async with await Store.open(settings_in(tmp_path)) as store:
        await lived(store)

        with pytest.raises(KeyError):
            await store.privacy.export(ALICE)


async def test_the_command_answers_the_member_alone_with_a_file_and_a_summary(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)
    await world.alice.react(reply, "👍")
    await world.house.trainer.run_round()

    shown = await world.alice.slash(world.channel, "my-data")

    message = shown.response
    assert shown.ephemeral
    assert (
        "My replies to you: 1 (1 with their text). Your feedback, with the labels I make of it: 1."
        in message.content
    )
    (attachment,) = message.attachments
    assert attachment.filename == "my-data.json"
    content = json.loads(await attachment.read())
    (server,) = content["servers"]
    (row,) = server["feedback"]
    assert row["label"] > 0.5
    (head,) = server["heads"]
    assert set(head["body"]) == {"bytes"}  # the weights contain what other members taught


async def test_who_never_agreed_is_told_that_nothing_is_kept(world):
    shown = await world.ben.slash(world.channel, "my-data")

    assert shown.response.content == "I keep nothing about you, in any server."


def test_a_file_that_is_too_large_is_packed_and_cut():
    noise = np.random.default_rng(0).bytes(100_000)

    parts = parts_of([noise[:30_000], noise[30_000:]], most=20_000)

    assert [part.name for part in parts] == [f"my-data.json.gz.{n:03}" for n in range(1, len(parts) + 1)]
    assert all(len(part.content) <= 20_000 for part in parts)
    assert gzip.decompress(b"".join(part.content for part in parts)) == noise
    assert [(part.name, part.content) for part in parts_of([b"{}"], most=2)] == [("my-data.json", b"{}")]
    (packed,) = parts_of([b"a" * 20_001], most=20_000)
    assert packed.name == "my-data.json.gz" and gzip.decompress(packed.content) == b"a" * 20_001
