"""Measures how far hostile accounts move what members share, by their number and place.

Run ``python -m tests.benchmarks.hostile_shares``; it prints the rows of docs/learning/parts.md: mean and
standard error over populations. ``--honest FOLDER`` measures instead what the agreement of members costs where nobody
is hostile, on a set of public judgements.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from personalization.heads.heads import Prior, starter_prior
from personalization.lab.baselines import pool_of
from personalization.lab.datasets import binary_labels, dev_members, is_support, read_dataset
from personalization.lab.encoded_sets import encode_set
from personalization.population.agreement import Agreement, agreement_of
from personalization.population.fit_prior import fit_prior
from personalization.rounds import teaching
from personalization.score_quality import concordance
from personalization.settings import LearningSettings
from tests.rig.crowds import PLACES, Crowds, emoji_of, loss_of

PARTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
N_HONEST, SEEDS = 48, 5
SIZES = ((40, 20), (60, 20), (100, 20))
"""Members and labels of each, drawn from the set."""


def main() -> None:
    """Print one row for each place of the hostile accounts, with the agreement of members and without it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--honest", type=Path, metavar="FOLDER")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keeps encodings for the next run")
    arguments = parser.parse_args()
    if arguments.honest is not None:
        _honest(arguments.honest, arguments.cache)
        return
    with ProcessPoolExecutor(2) as workers:
        for name, with_agreement in (("with agreement", True), ("caps alone", False)):
            found = np.array(list(workers.map(partial(_rises, with_agreement=with_agreement), range(SEEDS))))
            mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / SEEDS**0.5  # (ways, parts, 2)
            for how, row, rises in zip(PLACES, mean, error, strict=True):
                cells = [f"{m[0]:+.3f} ± {e[0]:.3f} / {m[1]:.2f}" for m, e in zip(row, rises, strict=True)]
                print(f"| {how}, {name} | " + " | ".join(cells) + " |", flush=True)


def _rises(seed: int, *, with_agreement: bool) -> list[list[tuple[float, float]]]:
    """Return, for each way and part, the rise of the loss and the value of the emoji."""
    torch.set_num_threads(1)
    teaching.agreement_of = agreement_of if with_agreement else all_alike
    # The calibration does not change the mean, and takes most of the time.
    teaching.fit_prior = partial(fit_prior, calibrated=False)
    crowds = Crowds(N_HONEST, seed=seed)
    before = loss_of(crowds.taught(0, PLACES[0]), crowds.strangers)
    return [[_rise(crowds, part, how, before) for part in PARTS] for how in PLACES]


def _rise(crowds: Crowds, part: float, how: str, before: float) -> tuple[float, float]:
    prior = crowds.taught(round(N_HONEST * part / (1 - part)), how)
    return loss_of(prior, crowds.strangers) - before, emoji_of(prior, crowds.emoji).value


def all_alike(*_args: object, **_kwargs: object) -> Agreement:
    """Count all members alike, as where there are too few to compare."""
    return Agreement({}, quorum=True)


def _honest(folder: Path, cache: Path | None) -> None:
    """Print what the agreement costs on members and texts that are not taught, paired by population."""
    settings, dataset = LearningSettings(device="cpu"), read_dataset(folder)
    known = encode_set(dataset, settings, cache)
    features, encoded = known.features, known.replies
    starter, tested = starter_prior(features, settings), dev_members(dataset.users)
    how = {"member_cap": 20.0, "n_embedding": features.n_embedding}
    for n_members, n_labels in SIZES:
        costs: list[tuple[float, float]] = []
        for seed in range(SEEDS):
            rng, support = np.random.default_rng(seed), is_support(dataset, seed)
            able = np.flatnonzero(support & ~tested[dataset.user])
            users = rng.permutation(np.unique(dataset.user[able]))[:n_members]
            rows = [rng.permutation(able[dataset.user[able] == user])[:n_labels] for user in users]
            pool = pool_of(dataset, encoded, np.concatenate(rows))
            agreed = agreement_of(pool, starter, **how)
            share = np.array([agreed.by_member.get(number, 1.0) for number in pool.member.tolist()])
            asked = np.flatnonzero(~support & tested[dataset.user])
            X, y, user = encoded[dataset.item[asked, 0]], dataset.y[asked], dataset.user[asked]
            without = fit_prior(pool, starter, device="cpu", calibrated=False, **how)
            with_it = without
            if (share < 1).any() or not agreed.quorum:
                pool = replace(pool, share=share)
                kept = not agreed.quorum
                with_it = fit_prior(pool, starter, device="cpu", calibrated=False, keep_mean=kept, **how)
            liked = binary_labels(y, dataset.y[able])
            before, after = (_quality(prior, X, y, liked, user) for prior in (without, with_it))
            costs.append((before[0] - after[0], after[1] - before[1]))
        (rank, loss), (rank_se, loss_se) = np.mean(costs, axis=0), np.std(costs, axis=0, ddof=1) / SEEDS**0.5
        print(
            f"{n_members} members x {n_labels} labels: concordance {-rank:+.4f} ± {rank_se:.4f},"
            f" log loss {loss:+.4f} ± {loss_se:.4f}",
            flush=True,
        )


def _quality(
    prior: Prior, X: np.ndarray, y: np.ndarray, liked: np.ndarray, user: np.ndarray
) -> tuple[float, float]:
    """Return the mean concordance of members, and the log loss of all labels."""
    scores = prior.head().score(X)
    ranks = [concordance(scores[user == one], y[user == one]) for one in np.unique(user)]
    return float(np.nanmean(ranks)), float(np.mean(np.logaddexp(0, scores) - liked * scores))


if __name__ == "__main__":
    sys.exit(main())
