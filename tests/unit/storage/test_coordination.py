"""Several processes on one database: one trains, a replaced trainer stores nothing, news reach the others."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from storage.database.peers import News
from storage.errors import NotTrainer
from storage.records import NewHead, PriorRecord, RoundRecord
from storage.store import Store
from tests.rig.key_places import PLACES, processes
from tests.rig.waiting import AT_MOST_S
from tests.unit.storage.given import ALICE, BOB, FIRST, SECOND, START, posted, round_of, settings_in, standing

ROOT = Path(__file__).parents[3]
RECORD = RoundRecord(START, START, 0, 0, 0, "cpu")
WAIT_S = 60.0


@pytest.fixture
async def url(postgres):
    name = await postgres.fresh()
    yield postgres.url(name)
    await postgres.drop(name)


@pytest.fixture(params=PLACES)
async def stores(request, tmp_path, url, postgres):
    """Stores of two processes on the same database, on one host or on two; the first one trains."""
    settings = settings_in(tmp_path, url=url)
    async with processes(request.param, settings, lambda: postgres) as both, AsyncExitStack() as stack:
        yield [await stack.enter_async_context(await Store.open(one)) for one in both]


async def heard_by(store, happens, *wanted):
    """Collect the news that a store receives, until all of ``wanted`` arrived."""
    heard, all_there = [], asyncio.Event()

    def listen(news):
        heard.append(news)
        if set(wanted) <= set(heard):
            all_there.set()

    store.coordination.subscribe(listen)
    await happens
    await asyncio.wait_for(all_there.wait(), WAIT_S)
    return heard


async def test_on_sqlite_the_only_process_trains(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        assert (store.coordination.leads, await store.coordination.lead()) == (True, True)
        assert await store.learning.record_round(RECORD, []) == 1


@pytest.mark.parametrize("place", PLACES)
async def test_processes_that_start_at_once_on_nothing_share_keys_and_data(tmp_path, postgres, place):
    name = await postgres.fresh(migrated=False)
    settings = settings_in(tmp_path, url=postgres.url(name))
    async with processes(place, settings, lambda: postgres) as (one, other):
        await start_at_once([one, other, other])
    await postgres.drop(name)


async def start_at_once(hosts):
    stores = await asyncio.gather(*(Store.open(settings) for settings in hosts))

    member_ids = [await store.consent.record(ALICE) for store in stores]
    leading = [store.coordination.leads for store in stores]
    for store in stores:
        await store.close()

    assert len(set(member_ids)) == 1
    assert sorted(leading) == [False, False, True]


async def test_one_process_trains_and_the_next_takes_over_when_it_ends(tmp_path, url):
    first, second = [await Store.open(settings_in(tmp_path, url=url)) for _ in range(2)]
    before = await first.coordination.lead(), await second.coordination.lead()
    await first.learning.record_round(RECORD, [])
    with pytest.raises(NotTrainer, match="Another process is the trainer now"):
        await second.learning.record_round(RECORD, [])
    with pytest.raises(NotTrainer):
        await second.learning.record_prior(PriorRecord(b"prior", 1, START))
    await first.close()

    async with asyncio.timeout(AT_MOST_S):  # PostgreSQL frees the lock of a closed connection a moment later
        while not (after := await second.coordination.lead()):
            await asyncio.sleep(0.02)
    assert await second.learning.record_round(RECORD, []) == 2
    await second.close()
    assert (before, after) == ((True, False), True)


async def test_a_process_that_only_trains_gets_the_training_and_the_others_stand_aside(stores):
    first, second = stores
    second.coordination.only_trains = True

    async def first_runs_its_jobs():
        while first.coordination.leads:
            await asyncio.sleep(0.02)
            await first.coordination.lead()

    taken, _ = await asyncio.gather(second.coordination.lead(), first_runs_its_jobs())

    assert (taken, await first.coordination.lead(), await second.coordination.lead()) == (True, False, True)
    with pytest.raises(NotTrainer):
        await first.learning.record_round(RECORD, [])
    assert await second.learning.record_round(RECORD, []) == 1


async def test_when_it_does_not_take_the_training_another_process_does(stores, monkeypatch):
    first, second = stores
    monkeypatch.setattr("storage.coordination.ASIDE_S", 0.3)
    await second.coordination._peers.show_trainer()
    await heard_by(first, second.coordination.notify(News.TRAINER), News.TRAINER)
    gave_up = await first.coordination.lead()

    await asyncio.sleep(0.4)

    assert (gave_up, await first.coordination.lead()) == (False, True)


async def test_control_a_process_that_also_answers_does_not_take_the_training_away(stores):
    first, second = stores

    assert [await second.coordination.lead(), await first.coordination.lead()] == [False, True]


async def test_a_trainer_who_lost_the_lock_unnoticed_stores_nothing(stores):
    """As after a pause: the first process still believes it is the trainer, but another has taken over."""
    first, second = stores
    peers = first.coordination._peers
    peers._driver.remove_termination_listener(peers._on_loss)
    await peers._driver.close()

    assert await second.coordination.lead()
    assert first.coordination.leads
    with pytest.raises(NotTrainer):
        await first.learning.record_round(RECORD, [])
    assert await second.learning.record_round(RECORD, []) == 1
    assert await second.learning.latest_round() == RECORD


async def test_a_cut_line_is_mended_and_the_lead_can_be_taken_again(tmp_path, url, postgres):
    async with await Store.open(settings_in(tmp_path, url=url)) as store:
        store.coordination._peers._first_wait_s = 0.01
        admin = await postgres.connect()
        cut = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'simpatico' AND query LIKE '%pg_try_advisory_lock%'"
        )
        heard = await heard_by(store, cut, News.LEFT)
        await admin.close()
        while not store.coordination.leads:
            await store.coordination.lead()
            await asyncio.sleep(0.01)

        # At the loss, while it is deaf, and once it listens again.
        assert (heard[0], heard[-1], set(heard[1:-1])) == (News.LEFT, News.LEFT, {News.DEAF})
        assert await store.learning.record_round(RECORD, []) == 1


async def test_the_others_hear_what_one_stores_and_it_does_not_hear_itself(stores):
    first, second = stores
    own = []
    first.coordination.subscribe(own.append)
    await posted(first, ALICE, FIRST)

    async def store_things():
        await first.learning.record_prior(PriorRecord(b"prior", 1, START))
        await first.learning.record_round(RECORD, [NewHead(first.member_id(ALICE), b"head", 1)])
        await first.coordination.notify(News.DUE)
        await first.privacy.forget(ALICE.user_id)

    heard = await heard_by(second, store_things(), News.LEFT)

    assert heard[:4] == [News.PRIOR, News.HEADS, News.DUE, News.LEFT]
    assert own == []


async def test_what_is_not_committed_is_not_told(stores):
    first, second = stores
    alice = first.member_id(ALICE)
    await posted(first, ALICE, FIRST)

    async def fail_then_tell():
        with pytest.raises(Exception, match="ck_heads_n_labels"):
            await first.learning.record_round(RECORD, [NewHead(alice, b"bad", -1)])
        await first.coordination.notify(News.DUE)

    assert await heard_by(second, fail_then_tell(), News.DUE) == [News.DUE]


async def test_nothing_learnt_from_somebody_who_left_in_another_process_is_stored(stores):
    trainer, other = stores
    await posted(trainer, ALICE, FIRST)
    before = trainer.coordination.erasures
    await other.privacy.forget(ALICE.user_id)

    assert await trainer.learning.record_prior(PriorRecord(b"prior", 1, START), erasures=before) is False
    assert await trainer.learning.record_round(RECORD, [], erasures=before) is None
    assert await trainer.learning.record_round(RECORD, [], erasures=trainer.coordination.erasures) == 1


async def test_somebody_who_came_back_is_not_sealed_under_the_key_that_another_process_destroyed(stores):
    first, second = stores
    await posted(first, ALICE, FIRST)
    await second.feedback.record_reaction(ALICE, FIRST, "👍", added=True)  # the second store caches the key
    second.coordination._peers._on_news = lambda _: None  # and the notification is not received
    await first.privacy.forget(ALICE.user_id)
    reply = await posted(first, ALICE, SECOND)

    assert await second.feedback.record_reaction(ALICE, SECOND, "🎉", added=True)

    assert await standing(first, ALICE) == {reply: (("🎉",), None)}


async def test_both_write_at_once_and_no_change_is_lost(stores):
    first, second = stores
    for who in (ALICE, BOB):
        await posted(first, who, FIRST if who is ALICE else SECOND)
    emoji = [chr(0x1F600 + i) for i in range(20)]

    await asyncio.gather(
        *(
            store.feedback.record_reaction(who, FIRST, one, added=True)
            for i, one in enumerate(emoji)
            for who, store in ((ALICE, stores[i % 2]), (BOB, stores[(i + 1) % 2]))
        )
    )

    found = [await standing(second, who) for who in (ALICE, BOB)]
    assert [list(rows.values()) for rows in found] == [[(tuple(emoji), None)]] * 2
    changed = await second.learning.changed_after(0, 10)
    assert len({one.changed_seq for one in changed}) == 2


async def test_two_forgets_in_two_processes_each_tell_of_their_own_member(stores):
    first, second = stores
    for who, message in ((ALICE, FIRST), (BOB, SECOND)):
        await posted(first, who, message)

    receipts = await asyncio.gather(first.privacy.forget(ALICE.user_id), second.privacy.forget(BOB.user_id))

    assert [receipt.member_ids for receipt in receipts] == [
        (first.member_id(ALICE),),
        (first.member_id(BOB),),
    ]


TRAINER = """
import asyncio, sys
from pathlib import Path
from storage.store import Store
from tests.unit.storage.given import settings_in, round_of

async def main():
    store = await Store.open(settings_in(Path(sys.argv[1]), url=sys.argv[2]))
    await round_of(store)
    print(store.coordination.leads, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_killed_trainer_gives_way_to_another_process(tmp_path, url):
    child = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(tmp_path), url], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert await asyncio.to_thread(child.stdout.readline) == "True\n"
        async with await Store.open(settings_in(tmp_path, url=url)) as store:
            while_it_lives = await store.coordination.lead()
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            while not await store.coordination.lead():
                await asyncio.sleep(0.05)  # until the server has detected it

            assert while_it_lives is False
            assert await round_of(store) == 2
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
