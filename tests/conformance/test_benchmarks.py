"""The benchmarks run at tiny sizes; checks what they report, not how long it takes."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bot.config import Settings
from bot.generation import Candidate, Context
from bot.replies.offers import in_offer
from bot.settings import DEFAULT_STYLES
from personalization.heads.heads import Prior
from personalization.insight.learnt_wishes import LearntWish
from personalization.lab.datasets import Dataset
from tests.benchmarks import (
    bench_heads,
    bench_partitions,
    bench_round,
    bench_small_servers,
    bench_taste,
    bench_trust,
    bench_writes,
)
from tests.benchmarks.bench_small_servers import Server, drawn, measured, table
from tests.benchmarks.obedient_writer import ObedientWriter
from tests.benchmarks.peers import PEERS
from tests.benchmarks.population import Population
from tests.benchmarks.tastes import TASTES
from tests.fakes import HashEncoder


@pytest.fixture(scope="module")
def population() -> Population:
    return Population(300)


@pytest.fixture(scope="module")
def prior(population: Population) -> Prior:
    return population.prior(12, 10)


def test_a_round_meets_all_peers_on_the_same_members(
    population: Population, prior: Prior, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_heads, "PAGE_BYTES", 2**20)
    monkeypatch.setattr(bench_heads, "PAGES_MIN", 2)

    times = bench_heads.run_round(40, False, 2, prior, population)

    assert sum(times.pages) % 40 == 0
    assert times.n_compared == 2 * len(times.pages)
    assert set(times.losses) == {"simpatico", *PEERS}
    assert all(np.isfinite(loss) for loss in times.losses.values())
    assert set(times.peers) == set(PEERS)


def test_a_round_on_a_device_agrees_with_the_cpu(population: Population, prior: Prior) -> None:
    lines = bench_heads.run_on_device("cpu", 130, 20, prior, population)

    assert lines[0].startswith("130 heads of 20 labels on cpu")
    assert (
        lines[-1] == "device and CPU agree: 100.00% of the weights to the last digit, scores within 0.0e+00"
    )


@pytest.mark.slow
def test_the_command_prints_a_table(
    population: Population, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_heads, "Population", lambda _: population)
    sizes = ["--members", "30", "--teachers", "12", "--per-page", "0", "--replies", "300", "--threads", "1"]

    bench_heads.main(sizes)

    printed = capsys.readouterr().out
    assert "| 30 members x 20 labels | simpatico |" in printed
    assert "| 30 members x 1 to 200 labels | simpatico |" in printed


def test_a_round_is_taken_apart(
    population: Population, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_round, "Population", lambda _: population)
    sizes = ["--members", "30", "--labels", "4", "--teachers", "12"]

    with ThreadPoolExecutor(1) as executor:
        bench_round.main(sizes, executor)

    printed = capsys.readouterr().out
    assert printed.startswith("round of 30 members with 120 labels: ")
    for part in ("read rows", "open seals", "rows to features", "solve", "seal and write heads"):
        assert f"| {part}" in printed


@pytest.mark.slow
async def test_the_speed_of_trust_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_trust, "LABELS_EACH", 5)

    rows = dict(await bench_trust.run(n_labels=200, n_forgets=2))

    assert rows["requests to read back 1,000 replies"] == "10"
    assert rows["reactions stored, 200 in one burst"].endswith(" a second, none lost")
    assert "forget a member of 5 labels among 200" in rows


@pytest.mark.slow
async def test_rounds_under_many_reactions_are_measured() -> None:
    rows = await bench_trust.under_reactions(3.0, n_members=5)

    assert [what.split()[-1] for what, _ in rows[1:]] == ["rounds", "process", "round"]
    assert float(rows[0][1]) > 0


@pytest.mark.slow
async def test_the_lock_of_all_writers_is_measured_against_others(postgres, tmp_path: Path) -> None:
    options = argparse.Namespace(rates=[20.0], seconds=1.0, turns=1)

    found = bench_writes.measure(postgres.url(await postgres.fresh()), tmp_path, 2, options)
    rows = [one.split(" | ") async for one in found]

    assert [one[2] for one in rows] == list(bench_writes.RULES)
    assert all(one[-1] == "0 |" for one in rows), "no write failed"


@pytest.mark.slow
async def test_partitions_are_measured_against_plain_tables(postgres) -> None:
    found = await bench_partitions.compare(postgres, 5_000, 10, 1)

    assert [set(one) for one in found.values()] == 3 * [set(bench_partitions.STATEMENTS)]


@pytest.mark.slow
async def test_a_taste_is_measured_through_the_real_bot() -> None:
    pool = {
        f"message {n}": {
            style: [Candidate(f"{text} {n}", style)]
            for style, text in (
                ("concise", "Yes."),
                ("detailed", "There is a lot to say, and I would begin with the first of many things about"),
                ("playful", "Ha! 😄 Sure!"),
                ("warm", "How lovely, would you tell me more?"),
            )
        }
        for n in range(5)
    }

    found = bench_taste.summary(
        [await bench_taste.one_seed(Settings(), pool, HashEncoder(16), 0, progress=False)]
    )

    everybody = found["all tastes"]
    assert list(everybody["lift"]) == [0, 3]
    assert everybody["gain"][0] == 0
    assert everybody["wins"][0] == 0.5
    assert set(found["members"]) == {*(taste.name for taste in TASTES), bench_taste.COIN}
    assert len({taste.kind for taste in TASTES}) >= 6


async def test_the_obedient_writer_follows_a_wish_and_examples_and_else_the_pool() -> None:
    pool = {"hi": {"concise": [Candidate("Go home. It is late.", "concise")]}}
    writer = ObedientWriter(pool, np.random.default_rng(0))
    concise, shown = DEFAULT_STYLES[0], ("Well, is it late? Will you go?", "Is it? Do you?")

    async def written(wish: str | None, examples: tuple[str, ...] = ()) -> str:
        seat = in_offer(concise, None if wish is None else LearntWish(wish, 0.9), examples)
        (candidate,) = await writer.generate(Context("hi"), [seat])
        assert candidate.style == seat.name
        return candidate.text

    assert await written(None) == "Go home. It is late."
    assert await written("shorter") == "Go home."
    assert await written("lively") == "Go home! It is late!"
    assert (await written("asks-back")).endswith("?")
    assert await written("longer") == "Go home. It is late. Go home. It is late."
    assert (await written(None, shown)).endswith("?")


def test_lift_and_wins_are_those_of_a_calculation_by_hand() -> None:
    always = bench_taste.Examined(np.array([(1.0, 2.0)]), (np.array([1.0, 3.0]),), (np.array([0.0, 1.0]),))
    never = bench_taste.Examined(np.array([(-1.0, 2.0)]), (np.array([1.0, 3.0]),), (np.array([1.0, 0.0]),))

    assert (always.wins_over(never), never.wins_over(always), always.wins_over(always)) == (1.0, 0.0, 0.5)
    assert always.expected().tolist() == [3.0]


# --- small servers ---------------------------------------------------------------------------------------


def small_server(n_members: int = 40, dim: int = 6) -> Server:
    """Members of one chatbot with one taste; each judges three replies of each of twenty dialogues."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, dim)).astype(np.float32)
    item = np.tile(np.arange(60), n_members)
    y = (features[item, 0] + rng.normal(size=len(item)) > 0).astype(np.float32)
    dataset = Dataset(
        name="bots",
        pairwise=False,
        texts=tuple(f"reply {i}" for i in range(60)),
        groups=tuple(f"bot/{i // 3}" for i in range(60)),
        users=tuple(f"u{i}" for i in range(n_members)),
        user=np.repeat(np.arange(n_members), 60),
        item=np.stack([item, item], axis=1),
        y=y,
    )
    plain = Prior(np.zeros(dim, np.float32), np.full(dim, 0.3, np.float32), 0.0, 1.0, "f" * 32)
    return Server("bot", dataset, features, np.arange(len(item)), plain)


def test_members_and_dialogues_that_taught_are_not_tested() -> None:
    server = small_server()
    dataset = server.dataset
    dialogue = dataset.item[:, 0] // 3

    taught, tested = drawn(server, 10, 5, draw=0)

    assert len(taught) == 50
    assert len(tested) >= bench_small_servers.LEAST_TESTED
    asked = np.concatenate([member.query for member in tested])
    given = np.concatenate([taught, *(member.support for member in tested)])
    assert not {*dataset.user[taught].tolist()} & {member.user for member in tested}
    assert not {*dialogue[asked].tolist()} & {*dialogue[given].tolist()}
    assert drawn(server, 41, 5, draw=0)[1] == []


def test_a_small_server_is_measured_against_its_starter() -> None:
    row = measured(small_server(), 15, 5, 2, n_embedding=4)

    assert row is not None
    assert row["own"]["0"]["metric"] > 0.7
    assert row["starter"]["0"]["metric"] == 0.5
    worse = {**row, "own": row["starter"], "starter": row["own"]}
    rows = [{"server": "bot", "size": "15x5", "draw": draw, **worse} for draw in range(2)]
    assert table(rows)[2].count("**below**") >= 1
    assert "below" not in table([{**one, **row} for one in rows])[2]
