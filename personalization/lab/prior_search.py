"""Searches what the fit of the population prior is told: rank, scales, the spread of thresholds.

Cross-validation on members of the population. A jury of members and groups is set aside first and sees
nothing of the search. Of the rest, each fold fits a prior on some members and groups and asks others, about
groups that taught nothing; Optuna's TPE proposes the next trial, and a trial that is worse than the median
after a fold is broken off. The first trial is the settings in use. At the end the jury is asked once, under
the settings in use and under the best found: better is what gains more than twice its standard error.

The one home of optuna, which comes with the extra ``tune``; reached by ``simpatico tune``. Knows nothing of
storage or Discord.

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
from personalization.lab.kept_out import SURE, ask, split_labels
from personalization.population.fit_prior import fit_prior
from personalization.score_quality import clustered_mean
from personalization.settings import Device, PriorSettings

ASKED_K = (0, 5, 20, 50)
"""Labels given to the heads of those who are asked."""
RANGES = {"rank": (4, 96), "style_scale": (0.02, 1.0), "start_variance": (0.02, 2.0), "bias_sd": (0.5, 4.0)}
"""Range of each number, searched by its logarithm; ``whitening`` evenly from 0 to 0.5."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a trial tries: how the prior is fitted, and the standard deviation of members' thresholds."""

    prior: PriorSettings
    bias_sd: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: its mean loss over the folds (smooth loss of the ranking); None when it was broken off."""

    choice: Choice
    loss: float | None


@dataclass(frozen=True, slots=True)
class Tuned:
    """How a search ended.

    Attributes:
        trials: In their order; the first is the settings in use.
        best: The trial of the least loss.
        gain: Mean gain of the jury in concordance (accuracy for pairs) over the settings in use.
        gain_se: Its standard error.
        n_judges: Members in the jury who could be asked.
    """

    trials: tuple[Trial, ...]
    best: Trial
    gain: float
    gain_se: float
    n_judges: int

    @property
    def is_better(self) -> bool:
        """Whether the jury's gain is sure."""
        return self.gain > SURE * self.gain_se


class Search:
    """A search on one set.

    Args:
        dataset: Judgements.
        labels: Which of its labels may be used at all.
        features: Of ``dataset.texts``, ``items x d`` float32.
        starter: Where the population prior starts.
        n_embedding: How many features are the embedding.
        in_use: The settings in use.
        folds: Ways to split, >= 1.
        seed: Of every chance in it.
        device: Where to solve.
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
        """Search. Blocks for minutes: a fit of the prior for each trial and fold.

        Args:
            trials: How many, >= 1.
            progress: Told after each trial.
        """
        import optuna  # an extra

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
            np.mean([ask(self._dataset, self._features, prior, jury, k, self._device)[0] for k in ASKED_K])
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
        """Paired gain of the jury, fitted to all of the rest."""
        metrics: list[DoubleArray] = []
        for tried in (choice, self._in_use):
            prior = self._fit(tried, self._rest)
            said = [
                ask(self._dataset, self._features, prior, self._judge, k, self._device)[1] for k in ASKED_K
            ]
            metrics.append(np.stack(said))  # (ks, u)
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
    """Write a choice as the lines of ``config.toml`` that make it."""
    prior = ", ".join(f"{name} = {value:.4g}" for name, value in asdict(choice.prior).items())
    return f"[personalization]\nbias_sd = {choice.bias_sd:.4g}\nprior = {{ {prior} }}\n"
