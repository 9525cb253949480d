"""Search for settings of the fit of the population prior: rank, scales, the spread of thresholds.

A jury of members and groups is held out from the whole search. On the rest, each fold of a cross-validation
fits a prior to some members and groups, and scores other members on groups without training labels. Optuna's
TPE proposes trials; a trial that is worse than the median after a fold is pruned. The first trial is the
settings in use. At the end the jury is scored once under the settings in use and once under the best ones
found. The best ones count as better if the gain exceeds twice its standard error.

The only module that imports optuna, which comes with the extra ``tune``. Called by ``simpatico tune``;
imports no storage.

Source: Bergstra et al. (2011), Algorithms for hyper-parameter optimization; Akiba et al. (2019), Optuna.
"""

# optuna leaves some types unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from personalization.arrays import DoubleArray, FloatArray, IntArray
from personalization.heads.heads import Prior
from personalization.lab.baselines import MEMBER_CAP, pool_of
from personalization.lab.datasets import Dataset
from personalization.lab.evaluate import Tested
from personalization.lab.kept_out import SURE, score_jury, split_labels
from personalization.population.fit_prior import fit_prior
from personalization.score_quality import clustered_mean
from personalization.settings import Device, PriorSettings

ASKED_K = (0, 5, 20, 50)
"""Numbers of labels given to the heads that are scored."""
RANGES = {"rank": (4, 96), "style_scale": (0.02, 1.0), "start_variance": (0.02, 2.0), "bias_sd": (0.5, 4.0)}
"""Range of each setting, searched on a log scale; ``whitening`` is searched uniformly from 0 to 0.5."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Settings of one trial: those of the fit, and the standard deviation of members' thresholds."""

    prior: PriorSettings
    bias_sd: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial with its mean smooth ranking loss over the folds; None if it was pruned."""

    choice: Choice
    loss: float | None


@dataclass(frozen=True, slots=True)
class Tuned:
    """Result of a search.

    Attributes:
        trials: All trials in order; the first is the settings in use.
        best: The trial with the smallest loss.
        gain: Mean gain of the jury over the settings in use, in concordance (accuracy for pairs).
        gain_se: Standard error of the gain.
        n_judges: Members of the jury who could be scored.
    """

    trials: tuple[Trial, ...]
    best: Trial
    gain: float
    gain_se: float
    n_judges: int

    @property
    def is_better(self) -> bool:
        """Whether the jury's gain exceeds twice its standard error."""
        return self.gain > SURE * self.gain_se


class Search:
    """A search on one set.

    Args:
        dataset: Judgements.
        labels: Indices of the labels that may be used, ``n``.
        features: Features of ``dataset.texts``, ``items x d`` float32.
        starter: Centre of the fit of the population prior.
        n_embedding: Number of features that are the embedding.
        in_use: The settings in use.
        folds: Number of splits, >= 1.
        seed: Seed of the splits and of the sampler.
        device: Device on which to solve.
    """

    def __init__(
        self,
        dataset: Dataset,
        labels: IntArray,
        features: FloatArray,
        starter: Prior,
        *,
        n_embedding: int,
        in_use: Choice,
        folds: int = 2,
        seed: int = 0,
        device: Device = "auto",
    ) -> None:
        self._dataset, self._features, self._starter = dataset, features, starter
        self._n_embedding, self._in_use, self._seed = n_embedding, in_use, seed
        self._device: Device = device
        whole = split_labels(dataset, labels, seed)
        judges = [member.user for member in whole.judge]
        asked = np.unique(dataset.item[np.concatenate([member.query for member in whole.judge]), 0])
        groups = np.array(dataset.groups)
        kept_groups = ~np.isin(groups, groups[asked])
        rest = labels[~np.isin(dataset.user[labels], judges) & kept_groups[dataset.item[labels, 0]]]
        self._judge, self._rest = whole.judge, rest
        self._folds = [split_labels(dataset, rest, seed + 1 + fold) for fold in range(folds)]

    def run(self, trials: int, progress: Callable[[Trial], None] = lambda trial: None) -> Tuned:
        """Run the search. Blocks for minutes: one fit of the prior per trial and fold.

        Args:
            trials: Number of trials, >= 1.
            progress: Called after each trial.
        """
        import optuna  # from the extra ``tune``

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=self._seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
        )
        in_use = asdict(self._in_use.prior) | {"bias_sd": self._in_use.bias_sd}
        first = {name: float(np.clip(in_use[name], low, high)) for name, (low, high) in RANGES.items()}
        study.enqueue_trial({**first, "rank": round(first["rank"]), "whitening": in_use["whitening"]})
        done: list[Trial] = []

        def objective(trial: Any) -> float:
            proposed = _proposed(trial)
            choice = proposed if done else self._in_use
            losses: list[float] = []
            for fold, split in enumerate(self._folds):
                jury = [*split.stop, *split.judge]
                losses.append(self._loss(choice, split.teach, jury))
                trial.report(float(np.mean(losses)), fold)
                if done and fold < len(self._folds) - 1 and trial.should_prune():
                    done.append(Trial(choice, None))
                    progress(done[-1])
                    raise optuna.TrialPruned
            done.append(Trial(choice, float(np.mean(losses))))
            progress(done[-1])
            return float(np.mean(losses))

        study.optimize(objective, n_trials=trials)
        best = min((trial for trial in done if trial.loss is not None), key=lambda trial: trial.loss or 0.0)
        gain, gain_se, n_judges = (0.0, 0.0, len(self._judge)) if best is done[0] else self._gain(best.choice)
        return Tuned(tuple(done), best, gain, gain_se, n_judges)

    def _loss(self, choice: Choice, teach: IntArray, jury: Sequence[Tested]) -> float:
        prior = self._fit(choice, teach)
        return float(
            np.mean(
                [score_jury(self._dataset, self._features, prior, jury, k, self._device)[0] for k in ASKED_K]
            )
        )

    def _fit(self, choice: Choice, labels: IntArray) -> Prior:
        return fit_prior(
            pool_of(self._dataset, self._features, labels),
            replace(self._starter, bias_variance=choice.bias_sd**2),
            member_cap=MEMBER_CAP,
            device=self._device,
            n_embedding=self._n_embedding,
            calibrated=False,
            settings=choice.prior,
        )

    def _gain(self, choice: Choice) -> tuple[float, float, int]:
        """Compute the paired gain of the jury, with priors fitted to all other labels."""
        metrics: list[DoubleArray] = []
        for tried in (choice, self._in_use):
            prior = self._fit(tried, self._rest)
            scored = [
                score_jury(self._dataset, self._features, prior, self._judge, k, self._device)[1]
                for k in ASKED_K
            ]
            metrics.append(np.stack(scored))  # (ks, u)
        difference = metrics[0] - metrics[1]
        here = ~np.isnan(difference).all(axis=0)
        gain, gain_se = clustered_mean(np.nanmean(difference[:, here], axis=0), np.flatnonzero(here))
        return gain, gain_se, int(here.sum())


def _proposed(trial: Any) -> Choice:
    numbers = {
        name: trial.suggest_int(name, low, high, log=True)
        if name == "rank"
        else trial.suggest_float(name, low, high, log=True)
        for name, (low, high) in RANGES.items()
    }
    bias_sd = float(numbers.pop("bias_sd"))
    return Choice(PriorSettings(whitening=trial.suggest_float("whitening", 0.0, 0.5), **numbers), bias_sd)


def as_toml(choice: Choice) -> str:
    """Format a choice as lines of ``config.toml``."""
    prior = ", ".join(f"{name} = {value:.4g}" for name, value in asdict(choice.prior).items())
    return f"[personalization]\nbias_sd = {choice.bias_sd:.4g}\nprior = {{ {prior} }}\n"
