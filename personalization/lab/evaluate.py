"""How well heads rank what their members will like: one protocol for this project and for outside checks.

Tested members are not in the population. Replies come in groups (dialogues), and each seed makes half of
the groups *support* and the others *query*: the prior, its penalties and its calibration see only the
population's support labels; a head sees the first k support labels of its member and is asked about replies
from groups that nobody's label has touched. Every row of :mod:`personalization.lab.baselines` is measured
on the same members and the same queries, so that the gain over the global head is a paired one.

Reached by ``simpatico evaluate``; see docs/learning.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from personalization.arrays import BoolArray, FloatArray, IntArray
from personalization.heads.heads import Prior
from personalization.lab.baselines import NEW_SERVER_ROWS, ROWS, Row, features_of, make_rows, pool_of
from personalization.lab.datasets import Dataset, DatasetBroken, binary_labels, is_support
from personalization.population.fit_prior import DEFAULTS
from personalization.score_quality import accuracy, calibration_error, clustered_mean, concordance, log_loss
from personalization.settings import Device, PriorSettings
from personalization.solving.training import Examples

DEFAULT_K = (0, 1, 3, 5, 10, 20, 50)
MIN_SUPPORT, MIN_QUERY, MAX_QUERY, MAX_MEMBERS = 20, 10, 80, 300


@dataclass(frozen=True, eq=False, slots=True)
class Tested:
    """A tested member of one seed: support labels in their shuffled order, and query labels."""

    user: int
    support: IntArray
    query: IntArray


@dataclass(eq=False, slots=True)
class Cell:
    """What one row said at one k, over seeds: metric and log loss by member, all probabilities."""

    metric: list[float] = field(default_factory=list[float])
    log_loss: list[float] = field(default_factory=list[float])
    user: list[int] = field(default_factory=list[int])
    p: list[FloatArray] = field(default_factory=list[FloatArray])
    outcome: list[FloatArray] = field(default_factory=list[FloatArray])


def evaluate(
    dataset: Dataset,
    features: FloatArray,
    tested: BoolArray,
    starter: Prior,
    *,
    shipped: Prior | None = None,
    seeds: int = 3,
    ks: Sequence[int] = DEFAULT_K,
    device: Device = "auto",
    n_embedding: int | None = None,
    rows: Sequence[str] = ROWS,
    settings: PriorSettings = DEFAULTS,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run the protocol. Blocks for minutes.

    Args:
        dataset: Population and tested members together.
        features: Of ``dataset.texts``, ``items x d`` float32.
        tested: Which users are tested, by user.
        starter: Where the population prior starts; of the same d.
        shipped: The prior that ships, measured with the plain one as on a server that taught nothing yet;
            None: not measured.
        seeds: Number of ways to split the groups.
        ks: Numbers of labels given to a head.
        device: Where heads are solved.
        n_embedding: How many features are the embedding.
        rows: Which of :data:`~personalization.lab.baselines.ROWS` to measure; ``global`` is always included.
        settings: How simpatico fits its prior.
        progress: Called with a line of text after each step.

    Returns:
        What ``--json`` writes: a figure that cannot be had is None. Where nobody gave enough labels to be
        tested the rows are empty, and ``note`` says so.

    Raises:
        DatasetBroken: Members to test, but no label of a population to learn from.
    """
    names = [*row_names(rows), *(NEW_SERVER_ROWS if shipped is not None else ())]
    cells: dict[str, dict[int, Cell]] = {name: {k: Cell() for k in ks} for name in names}
    n_tested = 0
    for seed in range(seeds):
        support = is_support(dataset, seed)
        members = tested_members(dataset, tested, support, seed)
        if not members:
            progress(f"seed {seed}: nobody to test")
            continue
        taught = np.flatnonzero(support & ~tested[dataset.user])
        if not len(taught):
            raise DatasetBroken(
                f"expected labels of a population beside the tested members in {dataset.name}, found none in"
                f" the support half of seed {seed}; give a folder with more people or more groups"
            )
        n_tested += len(members)
        made = make_rows(
            pool_of(dataset, features, taught),
            starter,
            shipped=shipped,
            device=device,
            n_embedding=n_embedding,
            rows=rows,
            settings=settings,
            progress=progress,
        )
        outcome = binary_labels(dataset.y, dataset.y[taught])
        for name, row in made.items():
            for k in ks:
                _measure(cells[name][k], row, k, members, dataset, features, outcome)
            progress(f"seed {seed}: {name}")
    result: dict[str, Any] = {
        "dataset": dataset.name,
        "metric": "accuracy" if dataset.pairwise else "concordance",
        "seeds": seeds,
        "members": n_tested,
        "rows": {
            name: {str(k): _summary(cell, cells["global"][k]) for k, cell in by_k.items() if len(cell.metric)}
            for name, by_k in cells.items()
        },
    }
    return result if n_tested else {**result, "note": _why_nobody(dataset, tested)}


def row_names(rows: Sequence[str]) -> list[str]:
    """Put the wanted rows in their order, with ``global``, which all are compared with."""
    return [name for name in ROWS if name == "global" or name in rows]


def _why_nobody(dataset: Dataset, tested: BoolArray) -> str:
    """Say what the members who could have been tested lack."""
    most = np.bincount(dataset.user, minlength=len(dataset.users))[tested].max(initial=0)
    return (
        f"expected members with {MIN_SUPPORT} support and {MIN_QUERY} query labels, found none among the"
        f" {int(tested.sum())} to be tested: the most labels that one of them gave are {most}"
    )


def tested_members(dataset: Dataset, tested: BoolArray, support: BoolArray, seed: int) -> list[Tested]:
    """Take the tested members who judged enough: at most 300 by order of id, at most 80 queries each."""
    rng = np.random.default_rng(seed)
    members: list[Tested] = []
    for user in sorted(np.flatnonzero(tested), key=lambda user: dataset.users[user]):
        own = np.flatnonzero(dataset.user == user)
        given, asked = own[support[own]], own[~support[own]]
        if len(given) >= MIN_SUPPORT and len(asked) >= MIN_QUERY:
            members.append(Tested(int(user), rng.permutation(given), rng.permutation(asked)[:MAX_QUERY]))
    if len(members) > MAX_MEMBERS:
        members = [members[i] for i in np.sort(rng.permutation(len(members))[:MAX_MEMBERS])]
    return members


# --- measuring -------------------------------------------------------------------------------------------


def _measure(
    cell: Cell,
    row: Row,
    k: int,
    members: Sequence[Tested],
    dataset: Dataset,
    features: FloatArray,
    outcome: FloatArray,
) -> None:
    able = [member for member in members if len(member.support) >= k]
    for start in range(0, len(able), 64):
        some = able[start : start + 64]
        given = np.array([member.support[:k] for member in some], np.int64).reshape(len(some), k)
        y = dataset.y[given]
        ones = np.ones_like(y)
        X = features_of(dataset, features, given.ravel()).reshape(*given.shape, features.shape[1])
        bank = row.solve(Examples(X, y, ones, ones > 0, np.full(y.shape, dataset.pairwise)))
        for i, member in enumerate(some):
            X_query = features_of(dataset, features, member.query)  # (n, d)
            scores = X_query @ bank.weights[i].astype(np.float32)  # (n,)
            p = row.probability(scores + (0 if dataset.pairwise else np.float32(bank.biases[i])), k)
            metric = accuracy if dataset.pairwise else concordance
            cell.metric.append(metric(scores, dataset.y[member.query]))
            cell.log_loss.append(log_loss(p, outcome[member.query]))
            cell.user.append(member.user)
            cell.p.append(p)
            cell.outcome.append(outcome[member.query])


def _summary(cell: Cell, base: Cell) -> dict[str, float | None]:
    gain, gain_se = clustered_mean(np.array(cell.metric) - np.array(base.metric), cell.user)
    figures = {
        "metric": clustered_mean(cell.metric, cell.user)[0],
        "gain": gain,
        "gain_se": gain_se,
        "log_loss": clustered_mean(cell.log_loss, cell.user)[0],
        "ece": calibration_error(np.concatenate(cell.p), np.concatenate(cell.outcome)),
        "members": len(set(cell.user)),
    }
    return {name: None if math.isnan(figure) else figure for name, figure in figures.items()}
