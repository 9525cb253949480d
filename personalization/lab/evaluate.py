"""Evaluation protocol: how well heads rank held-out replies by what their members like.

Tested members are not in the population. Replies come in groups (dialogues). Each seed assigns half of the
groups to *support* and the others to *query*. The prior, its penalties and its calibration are fitted to the
population's support labels only. A head is solved from the first k support labels of its member and scored on
query replies, from groups without any training label. Every row of :mod:`personalization.lab.baselines` is
measured on the same members and queries, so the gain over the global head is a paired difference.

Called by ``simpatico evaluate``; see docs/learning/measurements.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from personalization.arrays import BoolArray, FloatArray, IntArray
from personalization.errors import DatasetBroken
from personalization.heads.heads import Prior
from personalization.lab.baselines import Row, features_of, make_rows, pool_of
from personalization.lab.datasets import Dataset, binary_labels, is_support
from personalization.lab.options import DEFAULT_K, NEW_SERVER_ROWS, ROWS
from personalization.population.fit_prior import DEFAULTS
from personalization.population.pooled import Pool
from personalization.score_quality import (
    THRESHOLD,
    accuracy,
    calibration_error,
    classification,
    clustered_mean,
    concordance,
    log_loss,
)
from personalization.settings import Device, PriorSettings
from personalization.solving.training import Examples

MIN_SUPPORT, MIN_QUERY, MAX_QUERY, MAX_MEMBERS = 20, 10, 80, 300


@dataclass(frozen=True, eq=False, slots=True)
class Tested:
    """A tested member under one seed: indices of support labels, shuffled, and of query labels."""

    user: int
    support: IntArray
    query: IntArray


@dataclass(eq=False, slots=True)
class Cell:
    """Results of one row at one k over all seeds: figures by member, and all probabilities."""

    metric: list[float] = field(default_factory=list[float])
    classified: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    log_loss: list[float] = field(default_factory=list[float])
    user: list[int] = field(default_factory=list[int])
    p: list[FloatArray] = field(default_factory=list[FloatArray])
    outcome: list[FloatArray] = field(default_factory=list[FloatArray])


Cells = dict[str, dict[int, Cell]]
"""Row name -> k -> measurements."""


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
        tested: Whether each user is tested, ``users``.
        starter: Centre of the fit of the population prior; of the same d.
        shipped: The packaged starter prior, measured with the plain one as on a new server; None skips both.
        seeds: Number of splits of the groups.
        ks: Numbers of labels given to a head.
        device: Device on which heads are solved.
        n_embedding: Number of features that are the embedding.
        rows: Rows of :data:`~personalization.lab.baselines.ROWS` to measure; ``global`` is always included.
        settings: Settings of simpatico's fit of the prior.
        progress: Called with a line of text after each step.

    Returns:
        The content of ``--json``; undefined figures are None. If no member has enough labels to be tested,
        the rows are empty and ``note`` gives the reason.

    Raises:
        DatasetBroken: There are members to test, but no population labels to learn from.
    """
    names = [*row_names(rows), *(NEW_SERVER_ROWS if shipped is not None else ())]
    how = {"device": device, "n_embedding": n_embedding, "rows": rows, "settings": settings}
    fit = partial(make_rows, starter=starter, shipped=shipped, progress=progress, **how)
    cells: Cells = {name: {k: Cell() for k in ks} for name in names}
    n_tested = sum(_run_seed(cells, dataset, features, tested, seed, fit, progress) for seed in range(seeds))
    result = {"dataset": dataset.name, "metric": "accuracy" if dataset.pairwise else "concordance"}
    result |= {"seeds": seeds, "members": n_tested, "threshold": THRESHOLD, "rows": _summaries(cells)}
    return result if n_tested else {**result, "note": _missing_labels(dataset, tested)}


def row_names(rows: Sequence[str]) -> list[str]:
    """Sort the requested rows in their fixed order, and add ``global``, the baseline of every gain."""
    return [name for name in ROWS if name == "global" or name in rows]


def _missing_labels(dataset: Dataset, tested: BoolArray) -> str:
    """Explain why no member can be tested."""
    most = np.bincount(dataset.user, minlength=len(dataset.users))[tested].max(initial=0)
    return (
        f"expected members with {MIN_SUPPORT} support and {MIN_QUERY} query labels, found none among the"
        f" {int(tested.sum())} to be tested: the most labels that one of them gave are {most}"
    )


def tested_members(dataset: Dataset, tested: BoolArray, support: BoolArray, seed: int) -> list[Tested]:
    """Select tested members with enough labels: at most 300, with at most 80 queries each."""
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


def _run_seed(
    cells: Cells,
    dataset: Dataset,
    features: FloatArray,
    tested: BoolArray,
    seed: int,
    fit: Callable[[Pool], dict[str, Row]],
    progress: Callable[[str], None],
) -> int:
    """Measure all rows on one split into the cells; returns the number of tested members."""
    support = is_support(dataset, seed)
    members = tested_members(dataset, tested, support, seed)
    if not members:
        progress(f"seed {seed}: no members to test")
        return 0
    taught = np.flatnonzero(support & ~tested[dataset.user])
    if not len(taught):
        raise DatasetBroken(
            f"expected labels of a population beside the tested members in {dataset.name}, found none in"
            f" the support half of seed {seed}; give a folder with more people or more groups"
        )
    outcome = binary_labels(dataset.y, dataset.y[taught])
    for name, row in fit(pool_of(dataset, features, taught)).items():
        for k, cell in cells[name].items():
            _measure(cell, row, k, members, dataset, features, outcome)
        progress(f"seed {seed}: {name}")
    return len(members)


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
            cell.classified.append(classification(p, outcome[member.query]))
            cell.log_loss.append(log_loss(p, outcome[member.query]))
            cell.user.append(member.user)
            cell.p.append(p)
            cell.outcome.append(outcome[member.query])


def _summaries(cells: Cells) -> dict[str, dict[str, dict[str, float | None]]]:
    return {
        name: {str(k): _summary(cell, cells["global"][k]) for k, cell in by_k.items() if len(cell.metric)}
        for name, by_k in cells.items()
    }


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
    for name in cell.classified[0]:
        figures[name] = clustered_mean([found[name] for found in cell.classified], cell.user)[0]
    return {name: None if math.isnan(figure) else figure for name, figure in figures.items()}
