"""Measures what a young server's own prior is worth: its gain over the starter, on members it has not seen.

One chatbot of a set is the server. The starter is fitted to the given sets without that chatbot, and without
relevance. Some members teach a prior with a few labels each. Other members are tested on dialogues that
taught nothing. Their heads of 0, 5, 10 and 20 labels are solved under the server's prior and under the
starter. Labels are binary, like thumbs. Each draw takes other members and other dialogues. It is one line of
``--out``, so that a run that was stopped goes on.

Run ``python -m tests.benchmarks.bench_small_servers DBDC3 [FOLDER ...] --out FILE``. It prints Markdown;
docs/learning/parts.md ("Small servers") has the recorded figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from personalization.arrays import BoolArray, FloatArray, IntArray
from personalization.heads.heads import Prior, starter_prior
from personalization.heads.starter import configured, shipped_prior
from personalization.lab.baselines import MEMBER_CAP, Row, pool_of
from personalization.lab.datasets import Dataset, binary_labels, read_dataset
from personalization.lab.encoded_sets import EncodedSet, encode_set
from personalization.lab.evaluate import MAX_QUERY, MIN_QUERY, Cell, Tested, measure
from personalization.lab.preference_moments import Source, moments_of
from personalization.lab.starter_mean import RECIPE, MeanFit
from personalization.population.fit_prior import fit_prior
from personalization.score_quality import calibration_error
from personalization.settings import LearningSettings
from personalization.solving.gate import learn_heads

KS = (0, 5, 10, 20)
MOST_TESTED, LEAST_TESTED = 60, 20
TASTES_OF, LABELS_OF_EACH = 150, 30
"""Members of the other chatbots, and labels of each, from which the starter's directions are learnt: a sample
keeps a start below a minute."""
N_BINS = 10


@dataclass(frozen=True, eq=False, slots=True)
class Server:
    """A chatbot as a server.

    Attributes:
        name: Its name.
        dataset: The set, with binary labels.
        features: Of its replies, ``items x d`` float32.
        rows: The labels that are about this chatbot, ``n``.
        starter: The starter, fitted without them.
    """

    name: str
    dataset: Dataset
    features: FloatArray
    rows: IntArray
    starter: Prior


def main() -> None:
    """Measure the draws that the file lacks, and print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="the first has the chatbots")
    parser.add_argument("--sizes", default="10x5,20x5,50x20,200x20", help="members x labels of each")
    parser.add_argument("--draws", type=int, default=10, help="of each chatbot and size")
    parser.add_argument("--servers", metavar="NAMES", help="chatbots, separated by commas; all of them")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keeps encodings for the next run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="one line of JSON a draw")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.touch()
    found = [json.loads(line) for line in arguments.out.read_text().splitlines()]
    done = {(row["server"], row["size"], row["draw"]) for row in found}
    names = None if arguments.servers is None else arguments.servers.split(",")
    settings = LearningSettings(device="cpu")
    encoded = [encode_set(read_dataset(one), settings, arguments.cache) for one in arguments.folders]
    servers = list(servers_of(encoded, settings, names))
    for draw in range(arguments.draws):  # so that a run that was stopped has every server
        for size in arguments.sizes.split(","):
            for server in servers:
                if (server.name, size, draw) in done:
                    continue
                n_members, n_labels = (int(part) for part in size.split("x"))
                row = measured(server, n_members, n_labels, draw, encoded[0].features.n_embedding)
                if row is None:
                    print(f"{server.name} has too few members for {size}", file=sys.stderr)
                    continue
                found.append({"server": server.name, "size": size, "draw": draw, **row})
                with arguments.out.open("a") as file:
                    file.write(json.dumps(found[-1]) + "\n")
    print("\n".join(table(found)))


# --- servers ---------------------------------------------------------------------------------------------


def servers_of(
    encoded: Sequence[EncodedSet], settings: LearningSettings, names: Sequence[str] | None = None
) -> Iterator[Server]:
    """Yield the chatbots of the first set as servers, each with a starter that has not seen it."""
    judged = encoded[0]
    features, dataset = judged.features, judged.dataset
    binary = replace(dataset, y=binary_labels(dataset.y, dataset.y), trust=1.0)
    bot = np.array([group.split("/")[0] for group in dataset.groups])[dataset.item[:, 0]]
    plain, shipped = (
        starter_prior(features, settings),
        configured(shipped_prior(features), features, settings),
    )
    sources = [Source.of(one.dataset, one.replies, np.zeros(len(one.replies))) for one in encoded]
    fit = MeanFit(sources, features.n_embedding)
    scale = np.linalg.norm(shipped.mean) / np.linalg.norm(fit.fit(RECIPE)[:-1])
    for name in names or np.unique(bot).tolist():
        own = bot == name
        mean = scale * fit.fit(RECIPE, {dataset.name: moments_of(sources[0], ~own)})[:-1]
        tastes = _tastes(binary, judged.replies, ~own, replace(plain, loud=None), features.n_embedding)
        base = float((judged.replies @ mean)[dataset.item[~own, 0]].mean())
        starter = replace(
            shipped,
            mean=mean.astype(np.float16).astype(np.float32),
            bias_mean=float(np.float16(-base)),
            factor=tastes.factor,
        )
        yield Server(name, binary, judged.replies, np.flatnonzero(own), starter)


def _tastes(dataset: Dataset, features: FloatArray, here: BoolArray, plain: Prior, n_embedding: int) -> Prior:
    """Learn from a sample of these labels in which directions members differ."""
    rng = np.random.default_rng(0)
    members = rng.permutation(np.unique(dataset.user[here]))[:TASTES_OF]
    some = [
        rng.permutation(np.flatnonzero(here & (dataset.user == user)))[:LABELS_OF_EACH] for user in members
    ]
    pool = pool_of(dataset, features, np.concatenate(some))
    return fit_prior(
        pool, plain, member_cap=MEMBER_CAP, device="cpu", n_embedding=n_embedding, calibrated=False
    )


# --- draws -----------------------------------------------------------------------------------------------


def measured(
    server: Server, n_members: int, n_labels: int, draw: int, n_embedding: int
) -> dict[str, Any] | None:
    """Teach a prior with the labels of some members, and test it on others; None with too few members."""
    taught, tested = drawn(server, n_members, n_labels, draw)
    if len(tested) < LEAST_TESTED:
        return None
    dataset, started = server.dataset, time.process_time()
    # Without an outcome of its own, since the labels are binary: few likes are no reason to call all liked.
    pool = replace(pool_of(dataset, server.features, taught), outcome=None)
    prior = fit_prior(pool, server.starter, member_cap=MEMBER_CAP, device="cpu", n_embedding=n_embedding)
    row: dict[str, Any] = {"seconds": round(time.process_time() - started, 2), "tested": len(tested)}
    row["gap"] = gap(dataset, taught, tested)
    for name, one in (("own", prior), ("starter", server.starter)):
        row[name] = {}
        for k in KS:
            cell = Cell()
            method = Row(lambda given, one=one: learn_heads(given, one, "cpu")[0], one.probability)
            measure(cell, method, k, tested, dataset, server.features, dataset.y)
            p, y = np.concatenate(cell.p), np.concatenate(cell.outcome)
            row[name][k] = {
                "metric": float(np.nanmean(cell.metric)),
                "log_loss": float(np.mean(cell.log_loss)),
                "ece": calibration_error(p, y, N_BINS),
            }
    return json.loads(json.dumps(row))  # keys as they are read again


def drawn(server: Server, n_members: int, n_labels: int, draw: int) -> tuple[IntArray, list[Tested]]:
    """Draw the labels that teach, and the members who are tested on other dialogues.

    Returns:
        Labels of ``n_members`` members; and the tested members, none if too few have enough labels to teach.
    """
    rng = np.random.default_rng([draw, *server.name.encode()])
    dataset = server.dataset
    dialogue = np.unique(np.array(dataset.groups), return_inverse=True)[1][dataset.item[:, 0]]
    support = (rng.random(dialogue.max() + 1) < 0.5)[dialogue]  # (n,)
    taught: list[IntArray] = []
    tested: list[Tested] = []
    for user in rng.permutation(np.unique(dataset.user[server.rows])):
        own = server.rows[dataset.user[server.rows] == user]
        given, asked = rng.permutation(own[support[own]]), rng.permutation(own[~support[own]])
        if len(taught) < n_members and len(given) >= n_labels:
            taught.append(given[:n_labels])
        elif len(tested) < MOST_TESTED and len(given) >= max(KS) and len(asked) >= MIN_QUERY:
            tested.append(Tested(int(user), given, asked[:MAX_QUERY]))
    if len(taught) < n_members:
        return np.zeros(0, np.int64), []
    return np.concatenate(taught), tested


def gap(dataset: Dataset, taught: IntArray, tested: Sequence[Tested]) -> float:
    """Return how far the share of likes of those who teach is from that of the members who are tested.

    A prior that knows the labels of its members and nothing else errs by this much on newcomers. So it is
    about the least ECE at k = 0.
    """
    asked = np.concatenate([member.query for member in tested])
    return abs(float(dataset.y[taught].mean()) - float(dataset.y[asked].mean()))


# --- table -----------------------------------------------------------------------------------------------


def table(found: Sequence[dict[str, Any]]) -> list[str]:
    """Format gains over the starter, their standard errors over draws, both ECEs, and the gap of likes."""
    lines = [
        "| members x labels | server | draws | " + " | ".join(f"k = {k}" for k in KS) + " | gap | seconds |",
        "|---" * (len(KS) + 5) + "|",
    ]
    for size in dict.fromkeys(row["size"] for row in found):
        rows = [row for row in found if row["size"] == size]
        lines.append(_line(size, "all", rows))
        lines += [
            _line(size, name, [row for row in rows if row["server"] == name])
            for name in sorted({row["server"] for row in rows})
        ]
    return lines


def _line(size: str, name: str, rows: Sequence[dict[str, Any]]) -> str:
    cells: list[str] = []
    for k in map(str, KS):
        gain = np.array([row["own"][k]["metric"] - row["starter"][k]["metric"] for row in rows])
        error = gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else float("nan")
        own, starter = (np.mean([row[one][k]["ece"] for row in rows]) for one in ("own", "starter"))
        below = " **below**" if gain.mean() < -error else ""
        cells.append(f"{gain.mean():+.3f} ± {error:.3f}{below}, {own:.3f} ({starter:.3f})")
    apart, seconds = (np.mean([row[one] for row in rows]) for one in ("gap", "seconds"))
    return f"| {size} | {name} | {len(rows)} | {' | '.join(cells)} | {apart:.3f} | {seconds:.1f} |"


if __name__ == "__main__":
    main()
