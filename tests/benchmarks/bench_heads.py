"""``make bench-heads``: measures the cost of one member's head against peers and the hardware's limits.

On the CPU, it runs rounds of several sizes, streamed in pages. Each runs in a separate process that reports
its peak memory. Between the pages, the peers of :mod:`tests.benchmarks.peers` train heads for some members of
the same page, so that both run under the same load. On CUDA (``--device cuda``), it runs one round with the
features on the GPU and compares it with the speed of a copy and of a matrix product there. Prints Markdown;
``docs/benchmarks.md`` has the recorded results.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from personalization.devices import resolve_device
from personalization.heads.heads import HeadBank, Prior
from personalization.settings import Device
from personalization.solving.member_chunk import Chunk, PriorSpace, Solved
from personalization.solving.training import Examples, solve_heads
from tests.benchmarks.peers import PEERS, log_loss
from tests.benchmarks.population import DIM, SPACE, Population

HELD_OUT = 40
PAGE_BYTES = 160 * 2**20
PAGES_MIN = 12
SEED = 1


@dataclass(frozen=True, slots=True)
class Times:
    """Measurements of a round.

    Seconds are pairs of wall time and CPU time; on a busy machine the second is more reliable.

    Attributes:
        pages: Number of members of each page.
        ours: Seconds of our solver for each page.
        peers: Peer -> seconds per member, for each page; NaN where it could not learn.
        losses: Mean held-out log loss of ours and of each peer, over the same members.
        n_compared: Number of members given to the peers.
        peak_mib: Peak memory of the process, in MiB.
    """

    pages: list[int]
    ours: list[tuple[float, float]]
    peers: dict[str, list[tuple[float, float]]]
    losses: dict[str, float]
    n_compared: int
    peak_mib: float


# --- a round on the CPU, and its peers -------------------------------------------------------------------


def run_round(members: int, ragged: bool, per_page: int, prior: Prior, population: Population) -> Times:
    """Solve a round page by page, and let the peers train some members of each page; repeat small rounds."""
    room = np.empty((PAGE_BYTES // (4 * DIM), DIM), np.float32)
    pages: list[int] = []
    ours: list[tuple[float, float]] = []
    peers: dict[str, list[tuple[float, float]]] = {name: [] for name in PEERS}
    losses: dict[str, list[float]] = {name: [] for name in ["simpatico", *PEERS]}
    while len(pages) < (PAGES_MIN if per_page else 1):
        sizes = population.rng.integers(1, 201, size=members) if ragged else np.full(members, 20)
        sizes = np.sort(sizes)[::-1]
        while len(sizes):
            taken = sizes[: max(1, len(room) // sizes[0])]
            sizes = sizes[len(taken) :]
            page = population.members(taken, room)
            if not pages:
                solve_heads(page, prior, "cpu")  # warm up
            wall, busy = time.perf_counter(), time.process_time()
            bank, _ = solve_heads(page, prior, "cpu")
            ours.append((time.perf_counter() - wall, time.process_time() - busy))
            pages.append(len(taken))
            some = population.rng.permutation(len(taken))[:per_page]
            spent = compare(page, taken, bank, some, prior, population, losses) if per_page else {}
            for name, seconds in spent.items():
                peers[name].append(seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    means = {name: float(np.mean(loss)) for name, loss in losses.items() if loss}
    return Times(pages, ours, peers, means, len(losses["simpatico"]), peak)


def compare(
    page: Examples,
    sizes: npt.NDArray[np.int64],
    bank: HeadBank,
    some: npt.NDArray[np.int64],
    prior: Prior,
    population: Population,
    losses: dict[str, list[float]],
) -> dict[str, tuple[float, float]]:
    """Let each peer train some members.

    Returns:
        Peer -> mean seconds over the members that it could learn. Log losses are appended to ``losses``.
    """
    held = population.again(some, HELD_OUT)
    scores = HeadBank(bank.weights[some], bank.biases[some], "", "").scores(held.X)  # (u, k)
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in PEERS}
    for u, member in enumerate(some):
        n = int(sizes[member])
        losses["simpatico"].append(log_loss(prior.probability(scores[u], n), held.y[u]))
        for name, peer in PEERS.items():
            p, *seconds = peer(page.X[member, :n], page.y[member, :n], held.X[u])
            losses[name].append(log_loss(p, held.y[u]))
            if np.isfinite(seconds).all():
                spent[name].append((seconds[0], seconds[1]))
    nothing = (float("nan"), float("nan"))
    return {name: tuple(np.mean(both, axis=0)) if both else nothing for name, both in spent.items()}


def ratio(times: Times, peer: str, clock: int) -> str:
    """Ratio of the peer's time per member to ours, with a 95 % interval from a bootstrap over pages.

    Args:
        times: Measurements of the round.
        peer: Name of the peer.
        clock: 0 for wall time, 1 for CPU time.
    """
    u, ours = np.array(times.pages), np.array(times.ours)[:, clock]
    theirs = np.array(times.peers[peer])[:, clock]
    there = np.isfinite(theirs)
    u, ours, theirs = u[there], ours[there], theirs[there]
    drawn = np.random.default_rng(0).integers(0, len(u), size=(2000, len(u)))
    low, high = np.percentile((u * theirs)[drawn].sum(axis=1) / ours[drawn].sum(axis=1), [2.5, 97.5])
    return f"{(u * theirs).sum() / ours.sum():.0f} ({low:.0f} to {high:.0f})"


def report_round(members: int, ragged: bool, times: Times) -> None:
    """Print a round as rows of a table."""
    what = f"{members:,} members x {'1 to 200' if ragged else 20} labels"
    u = np.array(times.pages)
    wall, busy = np.array(times.ours).sum(axis=0) / u.sum() * 1e6
    loss = times.losses.get("simpatico", float("nan"))
    print(
        f"| {what} | simpatico | {wall:.1f} us | {busy:.1f} us | {loss:.3f} | | | {times.peak_mib:,.0f} MiB |"
    )
    for name in PEERS if times.n_compared else ():
        theirs = np.array(times.peers[name])
        there = np.isfinite(theirs[:, 0])
        wall, busy = (u[there, None] * theirs[there]).sum(axis=0) / u[there].sum() * 1e6
        both = f"{ratio(times, name, 0)} | {ratio(times, name, 1)}"
        print(f"| | {name} | {wall:,.0f} us | {busy:,.0f} us | {times.losses[name]:.3f} | {both} | |")


def in_process(arguments: argparse.Namespace, members: int, ragged: bool, prior: Path) -> Times:
    """Run a round in a separate process, so that its peak memory can be measured."""
    wanted = ["--only", str(members), "--prior", str(prior), "--per-page", str(arguments.per_page)]
    wanted += ["--replies", str(arguments.replies), "--threads", str(arguments.threads)]
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.bench_heads",
        *wanted,
        *(["--ragged"] if ragged else []),
    ]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
    return Times(**json.loads(done.stdout))


# --- a round on a device ---------------------------------------------------------------------------------


def run_on_device(device: Device, members: int, n: int, prior: Prior, population: Population) -> list[str]:
    """Solve one round with the features on the device; return lines with its time and share of the limits."""
    place = resolve_device(device)
    space = PriorSpace(prior, place)
    X, mean, tastes = (
        torch.from_numpy(part).to(place) for part in (population.X, population.mean, population.tastes)
    )
    chance = torch.Generator(place).manual_seed(SEED)
    seconds, steps, first = 0.0, 0, None
    for start in range(0, members, space.lanes(n)):
        u = min(space.lanes(n), members - start)
        chunk = draw(X, mean, tastes, u, n, space.lanes(n, u), chance)
        if first is None:
            space.solve(chunk)  # warm up
        synchronize(place)
        began = time.perf_counter()
        found = space.solve(chunk)
        synchronize(place)
        seconds += time.perf_counter() - began
        steps = max(steps, found.n_steps)
        first = first or (chunk, found)
        del chunk, found
    assert first is not None
    moved = members * (4 * n * DIM + 2 * (DIM + 1))
    r = prior.directions().shape[1]
    flop = members * (2 * n * DIM * r + 2 * n * n * r + steps * (2 * n**3 / 3 + 8 * n * n) + 2 * r * DIM)
    copied, multiplied = ceilings(place)
    return [
        f"{members:,} heads of {n} labels on {device}: {seconds:.3f} s,"
        f" {seconds / members * 1e6:.1f} us each",
        f"features read and heads written: {moved / seconds / 1e9:,.1f} GB/s,"
        f" {moved / seconds / copied:.0%} of a copy ({copied / 1e9:,.1f} GB/s)",
        f"arithmetic: {flop / seconds / 1e9:,.0f} GFLOP/s,"
        f" {flop / seconds / multiplied:.0%} of a product of matrices ({multiplied / 1e9:,.0f} GFLOP/s)",
        f"floor by both ceilings: {max(moved / copied, flop / multiplied):.3f} s",
        agreement(*first, prior),
    ]


def draw(
    X: Tensor, mean: Tensor, tastes: Tensor, u: int, n: int, lanes: int, chance: torch.Generator
) -> Chunk:
    """Draw ``u`` random members with ``n`` labels each, on the device."""
    place = X.device
    rows = torch.randint(len(X), (u * n,), generator=chance, device=place)
    own, threshold = (
        torch.randn(u, 1, size, generator=chance, device=place) for size in (tastes.shape[1], 1)
    )
    scores = mean[rows].view(u, n) + (tastes[rows].view(u, n, -1) * own).sum(dim=2) + threshold[:, :, 0]
    y, w = (torch.zeros(lanes, n, device=place) for _ in range(2))
    y[:u] = (torch.rand(u, n, generator=chance, device=place) < torch.sigmoid(scores)).float()
    w[:u] = 1
    return Chunk(X[rows], None, y, w, w.clone(), np.full(u, n))


def agreement(chunk: Chunk, found: Solved, prior: Prior) -> str:
    """Solve the first members on the CPU as well; return a line with the largest difference of scores."""
    u, n = min(2000, len(chunk.n_own)), chunk.y.shape[1]
    X, y = chunk.X[: u * n].cpu().numpy().reshape(u, n, -1), chunk.y[:u].cpu().numpy()
    bank, _ = solve_heads(Examples(X, y, np.ones_like(y), np.ones(y.shape, bool)), prior, "cpu")
    theirs = HeadBank(found.weights[:u].cpu().numpy(), found.biases[:u].cpu().numpy(), "", "")
    far = np.abs(theirs.scores(X) - bank.scores(X)).max()
    same = float((theirs.weights == bank.weights).mean())
    return f"device and CPU agree: {same:.2%} of the weights to the last digit, scores within {far:.1e}"


def ceilings(place: torch.device) -> tuple[float, float]:
    """Measure the device's limits: bytes/s of a copy (read plus written) and FLOP/s of a matrix product."""
    large, side = (2**28, 8192) if place.type == "cuda" else (2**24, 1024)
    a, b = (torch.rand(large, device=place) for _ in range(2))
    m, out = (torch.rand(side, side, device=place) for _ in range(2))
    copying = fastest(lambda: b.copy_(a), place)
    multiplying = fastest(lambda: torch.mm(m, m, out=out), place)
    return 8 * large / copying, 2 * side**3 / multiplying


def fastest(work: Callable[[], object], place: torch.device, times: int = 10) -> float:
    """Return the seconds of the fastest of ``times`` calls."""
    seconds: list[float] = []
    for _ in range(times):
        synchronize(place)
        start = time.perf_counter()
        work()
        synchronize(place)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def synchronize(place: torch.device) -> None:
    """Wait until the device has finished all queued work."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    elif place.type == "mps":
        torch.mps.synchronize()


# --- the command -----------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "mps"])
    parser.add_argument("--members", type=int, nargs="*", help="sizes of the rounds")
    parser.add_argument("--per-page", type=int, default=12, help="members of each page for the peers")
    parser.add_argument("--teachers", type=int, default=150, help="other members, for the prior")
    parser.add_argument("--replies", type=int, default=20_000, help="replies that members react to")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--prior", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--ragged", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    population = Population(arguments.replies)
    if arguments.only is not None:
        prior = Prior.from_bytes(arguments.prior.read_bytes(), feature_id=SPACE.feature_id, dim=DIM)
        population.rng = np.random.default_rng(SEED)
        times = run_round(arguments.only, arguments.ragged, arguments.per_page, prior, population)
        print(json.dumps(asdict(times)))
        return
    prior = population.prior(arguments.teachers, 40)
    python = platform.python_version()
    print(f"{platform.machine()}, {arguments.threads} threads, Python {python}, torch {torch.__version__}\n")
    if arguments.device != "cpu":
        for members in arguments.members or [1_000_000]:
            print("* " + "\n* ".join(run_on_device(arguments.device, members, 20, prior, population)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "prior")
        path.write_bytes(prior.to_bytes())
        print("| round | who | time a member | of the processor | held-out log loss", end=" | ")
        print(
            "times ours (95 %) | times ours, processor | largest memory |\n|---|---|---|---|---|---|---|---|"
        )
        sizes = arguments.members or [2_000, 20_000, 100_000]
        for members, ragged in [*((size, False) for size in sizes), (sizes[0], True)]:
            report_round(members, ragged, in_process(arguments, members, ragged, path))
    print()
    print("* " + "\n* ".join(run_on_device("cpu", min(sizes), 20, prior, population)))


if __name__ == "__main__":
    main()
