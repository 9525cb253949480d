"""P41: two hosts without shared files act as one bot when a member leaves, also during a round.

Data and keys are two PostgreSQL databases. Each host has a folder of its own, in which only the master key
lies. Members act on one host, and the other one trains. A member forgets on the first host while the second
one solves a chunk of a round, with labels of later chunks in memory. Within a second the second host answers
and stores nothing more of the member (P41). No row of a database and no file of a host has the member (P3).
An older dump of the keys does not bring the member back (P4). For everybody else it is as if the member had
never been there, to the last bit (P5).

Controls: without the comparison of the counter a round stores what it learnt from a forgotten member; without
the ledger the older dump brings the member back; without the forget the heads of others differ.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import pytest

from bot.app.composition import House, open_house
from personalization.encoding.features import FeatureMap
from personalization.rounds import trainer as rounds
from storage.coordination import Coordination
from storage.database.peers import News
from storage.errors import NoConsent
from storage.records import Consent, Place, Who
from storage.settings import StorageSettings
from storage.store import Store
from tests.fakes import FixedClock, HashEncoder, ScriptedGenerator
from tests.rig.canary import Canaries
from tests.rig.counterfactual import Outcome, outcome_in, small_settings
from tests.rig.key_places import KeysAt, host
from tests.rig.reading_ahead import labels_read
from tests.rig.waiting import until
from tests.unit.personalization.bench import LONG, SHORT, Bench
from tests.unit.storage.given import IMPRESSION, settings_in

pytestmark = [pytest.mark.promise("P41"), pytest.mark.slow]

U = Who(1, 500)
CROWD = [Who(1, 1000 + i) for i in range(6)]
LEDGER = ("erased_keys", "refusals", "ledger_origin")
WITHIN_S = 1.0


class Held(ThreadPoolExecutor):
    """The trainer's executor; while it is held, a solve has begun and does not end."""

    def __init__(self) -> None:
        super().__init__(1)
        self.begun, self.go_on = Event(), Event()
        self.go_on.set()

    def submit(self, function, /, *args, **kwargs):
        """Run a function, once the executor is not held."""

        def later():
            self.begun.set()
            self.go_on.wait(60)
            return function(*args, **kwargs)

        return super().submit(later)


@dataclass(frozen=True)
class Databases:
    """The database of the keys, the name of that of the data, and the settings of both hosts."""

    keys: KeysAt
    data: str
    hosts: list[StorageSettings]


@dataclass
class World:
    """Both hosts.

    Attributes:
        trains: The host that trains.
        acts: The other one, on which members act.
        bench: Short ways for members to act.
        executor: Where the trainer solves.
        on: The databases.
    """

    trains: House
    acts: House
    bench: Bench
    executor: Held
    on: Databases


@pytest.fixture
async def keys(postgres, tmp_path) -> str:
    """A database of keys without members, so that several worlds have the same pseudonyms."""
    name, data = await postgres.fresh(migrated=False), await postgres.fresh()
    at = KeysAt(settings_in(tmp_path / "first", url=postgres.url(data), key_url=postgres.url(name)))
    async with await Store.open(host(tmp_path / "maker", at)):
        pass
    return name


async def made(postgres, keys: str, folder: Path) -> Databases:
    """Make fresh data, a copy of the keys, and the folders of two hosts."""
    data, own = await postgres.fresh(), await postgres.fresh(migrated=False, template=keys)
    urls = {"url": postgres.url(data), "key_url": postgres.url(own)}
    at = KeysAt(settings_in(folder, **urls, group_commit_ms=0), postgres, own)
    return Databases(at, data, [host(folder / name, at) for name in ("here", "there")])


@asynccontextmanager
async def opened(on: Databases) -> AsyncIterator[World]:
    """Open both hosts."""
    clock = FixedClock()
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(Held())
        houses = [
            await stack.enter_async_context(
                open_house(
                    replace(small_settings(), storage=settings),
                    seed=0,
                    now=clock,
                    encoder=HashEncoder(16),
                    generator=ScriptedGenerator(),
                    trainer_executor=executor,
                )
            )
            for settings in on.hosts
        ]
        bench = Bench(houses[1].store, FeatureMap(HashEncoder(16)), executor, clock)
        yield World(*houses, bench, executor, on)
        executor.go_on.set()


@asynccontextmanager
async def two_hosts(postgres, keys: str, folder: Path) -> AsyncIterator[World]:
    """Open two hosts on fresh data and a copy of the keys."""
    async with opened(await made(postgres, keys, folder)) as world:
        yield world


async def version(house: House, who: Who) -> int:
    """Return the round behind the head by which a member would be answered now; 0 means the prior."""
    ranking = await house.ranker.rank(house.store.member_id(who), "hello", (SHORT, LONG))
    return ranking.head_version


async def lives(world: World, *, u_is_there: bool) -> None:
    """Members teach; there are a prior, a head of each and, in memory of the trainer's host, those of U."""
    for who in [*CROWD[:3], *([U] if u_is_there else []), *CROWD[3:]]:
        await world.bench.teach(who, likes=LONG, dislikes=SHORT)
    await learn(world.trains)
    if u_is_there:
        assert await version(world.trains, U) > 0


async def learn(house: House) -> None:
    await house.trainer.rebuild_prior()
    await house.trainer.run_round()


async def more(world: World, *, u_is_there: bool) -> None:
    """Everybody gives more feedback, so that everybody is due."""
    for who in [*CROWD[:3], *([U] if u_is_there else []), *CROWD[3:]]:
        await world.bench.teach(who, likes=LONG, dislikes=SHORT)


async def leaves_during_a_round(world: World, monkeypatch, *, returns: bool = False) -> None:
    """U forgets on one host while the other one solves the first chunk; labels of U are read already."""
    monkeypatch.setattr(rounds, "MEMBERS_AT_ONCE", 2)  # U is in the second of four chunks
    heard: list[News] = []
    world.trains.store.coordination.subscribe(heard.append)
    world.executor.begun.clear()
    world.executor.go_on.clear()
    read, u = labels_read(monkeypatch), world.trains.store.member_id(U)
    learning = asyncio.create_task(world.trains.trainer.run_round())
    await until(lambda: world.executor.begun.is_set() and u in read)

    receipt = await world.acts.store.privacy.forget(U.user_id)
    forgot_at = time.monotonic()
    if returns:
        await world.acts.store.consent.record(U)
    else:
        await is_in_force(world.trains, heard, forgot_at)
    world.executor.go_on.set()
    await learning

    assert (receipt.n_keys, receipt.n_traces) == (1, 0)


async def is_in_force(house: House, heard: list[News], forgot_at: float) -> None:
    """Assert that a host answers and stores nothing more of U, within a second of the forget."""
    await until(lambda: News.LEFT in heard, at_most_s=WITHIN_S)
    assert house.store.member_id(U) not in house.store._keys._opened
    assert await version(house, U) == 0
    assert await house.store.consent.of(U) is Consent.UNKNOWN
    with pytest.raises(NoConsent):
        await house.store.replies.record(U, Place(1, (9999,)), IMPRESSION)
    assert time.monotonic() - forgot_at < WITHIN_S


# --- P5: for everybody else it is as if they had never been there ----------------------------------------


async def outcomes(world: World) -> list[Outcome]:
    """Learn once more, and return what each host holds of the others."""
    await learn(world.trains)
    await until(lambda: world.acts.store.coordination.erasures == world.trains.store.coordination.erasures)
    world.acts.ranker.drop_all()
    return [await outcome_in(house, CROWD) for house in (world.trains, world.acts)]


async def test_a_forget_during_a_round_is_in_force_within_a_second_and_exact(
    postgres, keys, tmp_path, monkeypatch
):
    async with two_hosts(postgres, keys, tmp_path / "left") as world:
        await lives(world, u_is_there=True)
        await more(world, u_is_there=True)
        await leaves_during_a_round(world, monkeypatch)
        left = await outcomes(world)
    async with two_hosts(postgres, keys, tmp_path / "never") as world:
        await lives(world, u_is_there=False)
        await more(world, u_is_there=False)
        await world.trains.trainer.run_round()
        never = await outcomes(world)

    assert left == never
    assert left[0] == left[1]
    assert left[0].prior is not None and len(left[0].heads) == len(CROWD)


async def test_control_without_the_forget_the_heads_of_others_differ(postgres, keys, tmp_path):
    found: list[Outcome] = []
    for u_is_there in (True, False):
        async with two_hosts(postgres, keys, tmp_path / str(u_is_there)) as world:
            await lives(world, u_is_there=u_is_there)
            found.append(await outcome_in(world.trains, CROWD))

    assert all(found[0].heads[who] != found[1].heads[who] for who in CROWD)


# --- who forgets and agrees again ------------------------------------------------------------------------


async def head_after_a_return(world: World, monkeypatch) -> bytes | None:
    """Return the head of U, who forgot and agreed again during a round, and gave no feedback since."""
    await lives(world, u_is_there=True)
    await more(world, u_is_there=True)
    await leaves_during_a_round(world, monkeypatch, returns=True)
    return await world.bench.head(U)


async def test_nothing_that_a_round_learnt_before_the_forget_is_stored(postgres, keys, tmp_path, monkeypatch):
    async with two_hosts(postgres, keys, tmp_path / "hosts") as world:
        assert await head_after_a_return(world, monkeypatch) is None


async def test_control_without_the_comparison_the_forgotten_head_is_stored(
    postgres, keys, tmp_path, monkeypatch
):
    monkeypatch.setattr(Coordination, "no_erasure_since", lambda *_: True)
    async with two_hosts(postgres, keys, tmp_path / "hosts") as world:
        assert await head_after_a_return(world, monkeypatch) is not None


# --- P3 and P4: rows, files and dumps --------------------------------------------------------------------


async def rows_with(on: Databases, *values: bytes) -> int:
    """Count the rows of both databases that hold one of these values."""
    found = 0
    for name in (on.data, on.keys.name):
        connection = await on.keys.server.connect(name)
        tables = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        for (table,) in tables:
            for value in values:
                query = f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE $1'
                found += await connection.fetchval(query, f"%{value.hex()}%")
        await connection.close()
    return found


def in_files(on: Databases, *values: bytes) -> int:
    canaries = Canaries()
    for number, value in enumerate(values):
        canaries.secret(f"value {number}", value)
    return sum(len(canaries.in_folder(one.key_dir.parent)) for one in on.hosts)


async def bytes_of_u(world: World) -> tuple[bytes, bytes, bytes]:
    """Return the pseudonyms of U and the wrapped key, which are in the databases."""
    names = world.trains.store._keys.pseudonyms
    saved = await world.on.keys.sql("SELECT wrapped FROM member_keys WHERE member_id = ?", names.member(U))
    ((wrapped,),) = saved
    return names.member(U), names.person(U.user_id), wrapped


async def test_no_row_and_no_file_of_either_host_has_the_member(postgres, keys, tmp_path, monkeypatch):
    async with two_hosts(postgres, keys, tmp_path / "hosts") as world:
        await lives(world, u_is_there=True)
        await more(world, u_is_there=True)
        whose = await bytes_of_u(world)
        before = await rows_with(world.on, *whose)
        await leaves_during_a_round(world, monkeypatch)

        assert (before > 3, await rows_with(world.on, *whose), in_files(world.on, *whose)) == (True, 0, 0)
        for one in world.on.hosts:  # no file is shared
            assert [path.name for path in one.key_dir.parent.rglob("*") if path.is_file()] == ["master.key"]


async def is_back(postgres, keys: str, folder: Path, monkeypatch, *, without: tuple[str, ...]) -> bool:
    """Return whether an older dump of keys and data, put back without these tables, brings U back."""
    on = await made(postgres, keys, folder)
    async with opened(on) as world:
        await lives(world, u_is_there=True)
        whose = await bytes_of_u(world)
    dump, copy = await on.keys.dump(), await postgres.fresh(template=on.data)
    async with opened(on) as world:
        world.bench.n_messages = 1000
        await more(world, u_is_there=True)
        await leaves_during_a_round(world, monkeypatch)
    await on.keys.put_back(dump, without=without)
    async with await Store.open(replace(on.hosts[1], url=postgres.url(copy))) as store:
        agreed = await store.consent.of(U) is Consent.AGREED
    assert agreed is bool(await rows_with(replace(on, data=copy), *whose))
    return agreed


async def test_an_older_dump_does_not_bring_the_member_back(postgres, keys, tmp_path, monkeypatch):
    assert not await is_back(postgres, keys, tmp_path / "hosts", monkeypatch, without=LEDGER)


async def test_control_with_an_older_ledger_the_member_is_back(postgres, keys, tmp_path, monkeypatch):
    assert await is_back(postgres, keys, tmp_path / "hosts", monkeypatch, without=())
