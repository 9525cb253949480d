"""After a change of encoder, labels on earlier replies count as if the new encoder had always been in use."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from personalization.encoding import reembedding
from personalization.encoding.features import FeatureMap
from personalization.encoding.reembedding import Reembedder
from tests.fakes import HashEncoder
from tests.unit.personalization.bench import ALICE, BOB, LONG, SHORT, Bench


async def changed(store, clock, pool) -> Bench:
    """The same store after a change of encoder."""
    return Bench(store, FeatureMap(HashEncoder(24)), pool, clock)


async def test_heads_after_a_change_of_encoder_are_as_if_it_had_always_been_there(bench, store, clock):
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    await bench.teach(BOB, likes=LONG, dislikes=SHORT)
    await bench.trainer.run_round()
    with ThreadPoolExecutor(1) as pool:
        after = await changed(store, clock, pool)
        nothing = await after.trainer.run_round()

        count = await Reembedder(store.outdated, after.features).run()
        report = await after.trainer.run_round()

        assert nothing.n_labels == 0
        assert (count, report.n_members, report.n_labels) == (4, 2, 4)
        assert [await after.favourite(who) for who in (ALICE, BOB)] == [SHORT, LONG]
        head = await after.head(ALICE)
        await store.privacy.forget(ALICE.user_id)
        await after.teach(ALICE, likes=SHORT, dislikes=LONG)
        await after.trainer.run_round()
        assert await after.head(ALICE) == head
        await after.trainer.close()
        after.ranker.close()


async def test_nothing_is_encoded_when_nothing_is_outdated(bench, store):
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    encoder = HashEncoder()

    count = await Reembedder(store.outdated, bench.features).run()

    assert (count, encoder.n_texts) == (0, 0)


async def test_it_goes_page_by_page_and_ends_soon_when_told(bench, store, monkeypatch):
    monkeypatch.setattr(reembedding, "REPLIES_AT_ONCE", 2)
    for _ in range(3):
        await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    encoder = HashEncoder(24)
    stopped = Reembedder(store.outdated, FeatureMap(encoder))
    stopped.stop_soon()

    assert await stopped.run() == 0
    assert await Reembedder(store.outdated, FeatureMap(encoder)).run() == 6
    assert await Reembedder(store.outdated, FeatureMap(encoder)).run() == 0
    assert encoder.n_texts == 6
