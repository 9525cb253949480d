"""The benchmarks run at tiny sizes; checks what they report, not how long it takes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from personalization.heads.heads import Prior
from tests.benchmarks import bench_heads, bench_round, bench_trust
from tests.benchmarks.peers import PEERS
from tests.benchmarks.population import Population


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
