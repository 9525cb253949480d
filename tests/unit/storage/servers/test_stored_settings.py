"""Server settings: separate per server, deleted with it; changed emoji make members due."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from storage.records import Who
from storage.servers.stored_settings import GuildRecord
from storage.store import Store
from tests.unit.storage.given import ALICE, BOB, GUILD, due, posted, round_of

RECORD = GuildRecord({"persona": "You are a lighthouse keeper."}, {":4242": 1.0})


def set_to(record: GuildRecord):
    return lambda _before: record


async def test_a_server_has_what_was_set_for_it_and_others_have_not(store):
    await store.guild_settings.change(GUILD, set_to(RECORD))

    assert await store.guild_settings.of(GUILD) == RECORD
    assert await store.guild_settings.of(GUILD + 1) == GuildRecord()
    assert await store.learning.emoji_of_guilds() == {store.guild_id(ALICE): {":4242": 1.0}}


async def test_changes_at_once_do_not_undo_each_other(store):
    def add(key: str):
        return lambda before: replace(before, body={**before.body, key: True})

    await asyncio.gather(*(store.guild_settings.change(GUILD, add(key)) for key in "abcdef"))

    assert (await store.guild_settings.of(GUILD)).body == dict.fromkeys("abcdef", True)


async def test_a_change_that_fails_changes_nothing(store):
    await store.guild_settings.change(GUILD, set_to(RECORD))

    def fail(_before: GuildRecord) -> GuildRecord:
        raise ValueError("not in range")

    with pytest.raises(ValueError, match="not in range"):
        await store.guild_settings.change(GUILD, fail)

    assert await store.guild_settings.of(GUILD) == RECORD


async def test_a_changed_emoji_makes_those_due_who_gave_feedback_in_that_server(store):
    elsewhere = Who(GUILD + 1, BOB.user_id)
    for message, who in enumerate((ALICE, BOB, elsewhere), start=1):
        await posted(store, who, message)
    await store.feedback.record_reaction(ALICE, 1, ":4242", added=True)
    await store.feedback.record_reaction(elsewhere, 3, ":4242", added=True)
    await round_of(store)

    n_persona = await store.guild_settings.change(GUILD, set_to(GuildRecord(RECORD.body)))
    after_persona = await due(store)
    n_emoji = await store.guild_settings.change(GUILD, set_to(RECORD))

    assert (n_persona, after_persona) == (0, [])
    assert (n_emoji, await due(store)) == (1, [ALICE])


async def test_the_settings_go_a_week_after_the_bot_left_also_where_nobody_agreed(store: Store, clock):
    await store.guild_settings.change(GUILD, set_to(RECORD))
    await store.guild_settings.change(GUILD + 1, set_to(RECORD))
    await store.departures.record(GUILD)

    clock.advance(days=6)
    early = await store.departures.erase_due()
    clock.advance(days=2)
    await store.departures.erase_due()

    assert early is None
    assert await store.guild_settings.of(GUILD) == GuildRecord()
    assert await store.guild_settings.of(GUILD + 1) == RECORD


async def test_a_name_in_a_list_leads_to_no_row_of_the_member(store):
    name = store.guild_settings.name_of(ALICE)

    assert name not in {store.member_id(ALICE).hex(), store.guild_id(ALICE).hex()}
    assert name != store.guild_settings.name_of(Who(GUILD + 1, ALICE.user_id))
