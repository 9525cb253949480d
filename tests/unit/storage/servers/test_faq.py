"""FAQ entries: separate per server, limited in size, sealed, deleted with the server."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from storage.database.schema import faq
from storage.errors import FaqFull, UnknownEntry
from storage.records import Who
from storage.servers import faq as module
from storage.servers.faq import FaqEntry
from storage.servers.safety_rules import NOTHING_DECIDED, ServerRules
from tests.unit.storage.given import ALICE, GUILD

OPEN = FaqEntry("When are you open?", "Mondays.")
WHERE = FaqEntry("Where are the rules?", "In the first channel.")


@pytest.fixture
def here(store):
    return store.guild_id(ALICE)


@pytest.fixture
def elsewhere(store):
    return store.guild_id(Who(GUILD + 1, ALICE.user_id))


async def test_an_entry_is_kept_changed_and_removed_in_its_server_alone(store, here, elsewhere):
    first, second = await store.faq.add(here, OPEN), await store.faq.add(here, WHERE)
    versions = await store.faq.versions(here)

    await store.faq.edit(here, second, OPEN)

    assert await store.faq.entries(here) == {first: OPEN, second: OPEN}
    assert await store.faq.entries(here, [second]) == {second: OPEN}
    assert (await store.faq.versions(here))[first] == versions[first]
    assert (await store.faq.versions(here))[second] > versions[second]
    assert await store.faq.entries(elsewhere) == {}
    with pytest.raises(UnknownEntry):
        await store.faq.edit(elsewhere, first, WHERE)
    assert await store.faq.remove(elsewhere, first) is False
    assert await store.faq.remove(here, first) is True
    assert await store.faq.entries(here) == {second: OPEN}


async def test_number_and_size_of_entries_are_bounded(store, here, elsewhere, monkeypatch):
    monkeypatch.setattr(module, "MOST_ENTRIES", 1)
    await store.faq.add(here, OPEN)

    with pytest.raises(FaqFull):
        await store.faq.add(here, WHERE)
    await store.faq.add(elsewhere, WHERE)
    for entry in (FaqEntry(" ", "x"), FaqEntry("x", "x" * (module.LONGEST_ANSWER + 1))):
        with pytest.raises(ValueError, match="Expected a text of 1 to"):
            await store.faq.add(here, entry)


async def test_an_entry_that_was_moved_to_another_server_does_not_open(store, here, elsewhere):
    entry_id = await store.faq.add(here, OPEN)
    await store._writer.submit(lambda c: c.execute(update(faq).values(guild=elsewhere)) and None)

    assert await store.faq.versions(elsewhere) == {entry_id: entry_id}
    assert await store.faq.entries(elsewhere) == {}


async def test_what_is_a_servers_own_goes_a_week_after_it_was_left_without_any_member(
    store, here, elsewhere, clock
):
    rules = ServerRules("strict", ("word",))
    for guild in (here, elsewhere):
        await store.faq.add(guild, OPEN)
        await store.safety.record(guild, rules)
    await store.departures.record(GUILD)
    clock.advance(days=7)

    receipt = await store.departures.erase_due()

    assert receipt is not None and receipt.member_ids == ()
    assert (await store.faq.entries(here), await store.safety.of(here)) == ({}, NOTHING_DECIDED)
    assert list((await store.faq.entries(elsewhere)).values()) == [OPEN]
    assert await store.safety.of(elsewhere) == rules


async def test_rules_of_a_server_are_replaced_bounded_and_taken_back(store, here, elsewhere):
    await store.safety.record(here, ServerRules("strict", ("one", "zwei")))
    await store.safety.record(here, ServerRules("relaxed", ("drei",)))

    assert await store.safety.of(here) == ServerRules("relaxed", ("drei",))
    assert await store.safety.of(elsewhere) == NOTHING_DECIDED
    for terms in (("x",) * 201, ("",), ("x" * 61,)):
        with pytest.raises(ValueError, match="Expected"):
            await store.safety.record(here, ServerRules(None, terms))
    await store.safety.record(here, NOTHING_DECIDED)
    assert await store.safety.of(here) == NOTHING_DECIDED


async def test_nothing_of_who_wrote_an_entry_is_in_its_row(store, here):
    entry_id = await store.faq.add(here, OPEN)

    row = await store._reader.run(lambda c: c.execute(select(faq)).mappings().one())

    assert {name: row[name] for name in row if name != "body"} == {
        "entry_id": entry_id,
        "guild": here,
        "version": entry_id,
    }
