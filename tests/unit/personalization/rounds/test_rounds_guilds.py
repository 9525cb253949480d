"""Mean shifts of servers, from database to ranking: learnt and erased with the prior, and used by rounds."""

from __future__ import annotations

import numpy as np

from personalization.heads.heads import Head, Prior
from storage.records import DIRECT_MESSAGES, Who
from tests.unit.personalization.bench import LONG, SHORT, Bench

NORTH = [Who(1, 5000 + i) for i in range(10)]
SOUTH = [Who(2, 6000 + i) for i in range(10)]
NEWCOMERS = {guild: Who(guild, 9999) for guild in (1, 2, 3, DIRECT_MESSAGES)}


async def opposite(bench: Bench) -> None:
    """Teach that members of one server like short replies and members of the other like long ones."""
    for north, south in zip(NORTH, SOUTH, strict=True):
        await bench.teach(north, likes=SHORT, dislikes=LONG)
        await bench.teach(south, likes=LONG, dislikes=SHORT)


async def favourites(bench: Bench) -> dict[int, str]:
    """The reply that a member without labels gets in each server."""
    texts = [SHORT, LONG]
    found = {}
    for guild, who in NEWCOMERS.items():
        ranking = await bench.ranker.rank(None, "", texts, guild=bench.store.guild_id(who))
        found[guild] = texts[int(np.argmax(ranking.personal))]
    return found


async def stored(bench: Bench) -> Prior:
    record = await bench.store.learning.prior()
    assert record is not None
    return Prior.from_bytes(record.body, feature_id=bench.features.feature_id, dim=bench.features.dim)


async def test_newcomers_are_answered_by_the_mean_of_their_server(bench, store) -> None:
    await opposite(bench)

    await bench.trainer.rebuild_prior()

    found = await favourites(bench)
    assert (found[1], found[2]) == (SHORT, LONG)
    assert found[3] == found[DIRECT_MESSAGES]  # servers without members have no shift
    assert (await stored(bench)).shifts.keys() == {store.guild_id(who) for who in (NORTH[0], SOUTH[0])}


async def test_heads_are_solved_around_the_mean_of_their_server(bench, store) -> None:
    """The same labels move a head away from its server's mean; its prior id is the stored prior's."""
    await opposite(bench)
    await bench.trainer.rebuild_prior()
    for guild in (1, 2, 3):
        await bench.teach(NEWCOMERS[guild], likes="Hm.", dislikes="Never.")
    await bench.trainer.run_round()

    heads = {}
    for guild in (1, 2, 3):
        body = await bench.head(NEWCOMERS[guild]) or b""
        heads[guild] = Head.from_bytes(body, feature_id=bench.features.feature_id, dim=bench.features.dim)

    texts = bench.features.features([SHORT, LONG])
    north, south, other = (heads[guild].score(texts) for guild in (1, 2, 3))
    assert north[0] - north[1] > other[0] - other[1] > south[0] - south[1]
    assert {head.prior_id for head in heads.values()} == {(await stored(bench)).prior_id}


async def test_servers_of_one_taste_share_the_mean_of_all(bench) -> None:
    for who in (*NORTH, *SOUTH):
        await bench.teach(who, likes=SHORT, dislikes=LONG)

    await bench.trainer.rebuild_prior()

    assert (await stored(bench)).shifts == {}
    assert set((await favourites(bench)).values()) == {SHORT}


async def test_direct_messages_of_one_person_never_get_a_mean(bench, store) -> None:
    await opposite(bench)
    lonely = Who(DIRECT_MESSAGES, 7000)
    for _ in range(20):
        await bench.teach(lonely, likes="Hm.", dislikes=SHORT)

    await bench.trainer.rebuild_prior()

    assert store.guild_id(lonely) not in (await stored(bench)).shifts
    assert store.guild_id(lonely) != store.guild_id(Who(DIRECT_MESSAGES, 7001))


async def test_forgetting_takes_the_mean_of_a_server_along_and_is_exact(bench, store) -> None:
    await opposite(bench)
    without = (await bench.trainer.rebuild_prior()).prior_id
    await bench.teach(Who(1, 5999), likes=LONG, dislikes="Maybe another time, who knows?")
    with_them = (await bench.trainer.rebuild_prior()).prior_id

    await store.privacy.forget(5999)
    await bench.trainer.run_round()
    forgotten = await favourites(bench)
    again = (await bench.trainer.rebuild_prior()).prior_id

    assert len(set(forgotten.values())) == 1  # no shifts until the prior is learnt again
    assert again == without != with_them


async def test_a_restart_keeps_the_means_of_servers(bench, store, features, clock) -> None:
    await opposite(bench)
    await bench.trainer.rebuild_prior()

    again = Bench(store, features, None, clock)
    await again.trainer.restore()
    found = await favourites(again)
    await again.trainer.close()
    again.ranker.close()

    assert (found[1], found[2]) == (SHORT, LONG)
