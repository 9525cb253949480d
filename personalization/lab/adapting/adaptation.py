"""Adapts the shared encoder to what moves people's judgements; kept only if it helps people it never saw.

Two steps in turn, as long as it helps. First, with the encoder as it stands, the population prior and every
member's head are fitted to their labels. Second, with the heads frozen, the adapter takes gradient steps on
the likelihood of everybody's labels. Heads that teach the very labels they were fitted to would only confirm
themselves; so the groups of replies are dealt into two halves each round, and each half is taught by heads
that were fitted to the other. That is what a head is for: to say something about replies it has not seen.

Members and groups that take no part in this tell after each round whether it helped; the best round is kept,
and it ends when no better one comes (early stopping). Others, who have no say in that either, judge at the
end whether heads on the adapted encoder rank better than on the frozen one, by more than twice the standard
error of the difference.

After each round a checkpoint is written; who goes on from it gets what an unbroken run gets. No label of a
running bot's member takes part, so ``/forget-me`` has nothing to take back here (docs/architecture.md).
Reached by ``simpatico adapt-encoder``; imports torch and NumPy, nothing that knows storage or Discord.

Source: Hu et al. (2022), LoRA; Bertinetto et al. (2019), Meta-learning with differentiable closed-form
solvers, for features taught by heads that were solved on other examples.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from personalization.arrays import DoubleArray, FloatArray, IntArray
from personalization.devices import resolve_device
from personalization.encoding.adapter import AdaptableEncoder, AdapterShape
from personalization.encoding.encoder import LoadedModel
from personalization.encoding.features import style_features
from personalization.heads.heads import Prior
from personalization.lab.adapting.checkpoints import Progress, read_progress, write_progress
from personalization.lab.adapting.steps import AdapterOptimiser, Lesson, Note, StepSettings
from personalization.lab.baselines import MEMBER_CAP, pool_of
from personalization.lab.datasets import Dataset
from personalization.lab.kept_out import SURE, ask, solve_for, split_labels
from personalization.population.fit_prior import choose_ridge, fit_prior, mean_precision
from personalization.population.pooled import Pooled, teachers
from personalization.score_quality import clustered_mean
from personalization.settings import Device

ASKED_K = (0, 5, 20)
"""Labels given to the heads of those who were kept out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptSettings:
    """How an encoder is adapted.

    Attributes:
        shape: Of the adapter.
        steps: How its optimiser steps.
        rounds: Most rounds of fitting heads and teaching the encoder, >= 1.
        patience: Rounds without a better one after which it ends, >= 1.
        seed: Of every chance in it.
    """

    shape: AdapterShape = field(default_factory=AdapterShape)
    steps: StepSettings = field(default_factory=StepSettings)
    rounds: int = 8
    patience: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What those who were kept out said of the encoder after a round, and what teaching it said before.

    Attributes:
        loss: Smooth loss of the ranking; what decides about the best round.
        metric: Share of pairs that were ranked rightly.
        training_loss: Mean loss of a label while it was taught; NaN for round 0, the frozen encoder.
    """

    loss: float
    metric: float
    training_loss: float


@dataclass(frozen=True, eq=False, slots=True)
class Adapted:
    """How an adapting ended.

    Attributes:
        encoder: As it was in its best round.
        history: One entry for every round.
        best_round: 0 is the frozen encoder.
        gain: Of those who judge, over the frozen encoder: mean paired difference of the metric.
        gain_se: Its standard error; NaN with fewer than two judges.
        n_judges: How many they are.
    """

    encoder: AdaptableEncoder
    history: tuple[Measured, ...]
    best_round: int
    gain: float
    gain_se: float
    n_judges: int

    @property
    def is_better(self) -> bool:
        """Whether the judges' gain is sure."""
        return self.best_round > 0 and self.gain > SURE * self.gain_se


class Adaptation:
    """One adapting of one encoder on one set of judgements.

    Args:
        dataset: Judgements.
        labels: Which of its labels may be used at all.
        base: The encoder as it is.
        starter: Prior to start from, of the features of that encoder.
        settings: How.
        device: Where.
        checkpoint: File to go on from and to write to; None: neither.
        note: Told ``(name, value, step)`` of every figure worth a curve.

    Raises:
        AdapterTrouble: peft is missing, the model cannot be adapted, or the checkpoint is of something else.
        DeviceMissing: The device is not in this machine.
    """

    def __init__(
        self,
        dataset: Dataset,
        labels: IntArray,
        base: LoadedModel,
        starter: Prior,
        settings: AdaptSettings,
        *,
        device: Device = "auto",
        checkpoint: Path | None = None,
        note: Note = lambda name, value, step: None,
    ) -> None:
        self._dataset, self._starter, self._settings = dataset, starter, settings
        self._device: Device = device
        self._checkpoint, self._note = checkpoint, note
        self._split = split_labels(dataset, labels, settings.seed)
        self._group = np.unique(np.array(dataset.groups), return_inverse=True)[1]  # (items,)
        place = {text: i for i, text in enumerate(sorted(set(dataset.texts)))}
        self._texts, self._text_of = list(place), np.array([place[text] for text in dataset.texts], np.int64)
        self._used = np.unique(self._text_of[dataset.item[labels]]).astype(np.int64)
        self._style = np.array([style_features(text) for text in self._texts], np.float32)
        self._encoder = AdaptableEncoder(base, settings.shape, resolve_device(device), seed=settings.seed)
        about = (base.encoder_id, asdict(settings), _content(dataset, labels))
        self._task = hashlib.sha256(repr(about).encode()).hexdigest()
        # A reply judged in both halves counts twice; so this is what there is at most, but for a few.
        rows = self._lesson(self._split.teach, dataset.user[self._split.teach])
        self.n_steps = settings.rounds * 2 * math.ceil(len(rows) / 2 / settings.steps.replies)
        self._optimiser = AdapterOptimiser(
            self._encoder, settings.steps, n_steps=self.n_steps, seed=settings.seed, note=note
        )

    def run(self, progress: Callable[[str], None] = lambda text: None) -> Adapted:
        """Adapt, and have it judged. Blocks for minutes to hours.

        Args:
            progress: Told in words after each round.
        """
        done = self._resume()
        while True:
            n = len(done.history)
            features = self._features()
            prior = self._fit(features)
            done.history.append((*self._held_out(features, prior), done.training_loss))
            best = int(np.argmin([loss for loss, _, _ in done.history]))
            if best == n:
                done.best = {name: w.detach().cpu().clone() for name, w in self._encoder.trained().items()}
            loss, metric, _ = done.history[-1]
            self._note("kept out/loss", loss, n)
            self._note("kept out/ranked rightly", metric, n)
            progress(f"round {n}: kept out {metric:.4f}, best round {best}")
            if n >= self._settings.rounds or n - best >= self._settings.patience:
                break
            done.training_loss = self._teach(features, prior, n)
            self._note("training/loss", done.training_loss, n)
            self._save(done)
        self._encoder.put(done.best)
        gain, gain_se, n_judges = self._judge()
        history = tuple(Measured(*entry) for entry in done.history)
        return Adapted(self._encoder, history, best, gain, gain_se, n_judges)

    # --- one round ----------------------------------------------------------------------------------------

    def _features(self, *, frozen: bool = False) -> FloatArray:
        """Features of all items by the encoder as it stands, ``items x d``; no embedding where unused."""
        embeddings = np.zeros((len(self._texts), self._encoder.dim), np.float32)
        used: list[int] = self._used.tolist()
        embeddings[used] = self._encoder.encode([self._texts[i] for i in used], frozen=frozen)
        return np.concatenate([embeddings, self._style], axis=1)[self._text_of]

    def _fit(self, features: FloatArray) -> Prior:
        """The prior of those who teach; how far heads can be trusted is of no concern here."""
        return fit_prior(
            pool_of(self._dataset, features, self._split.teach),
            self._starter,
            member_cap=MEMBER_CAP,
            device=self._device,
            n_embedding=self._encoder.dim,
            calibrated=False,
        )

    def _teach(self, features: FloatArray, prior: Prior, n: int) -> float:
        """Teach each half of the groups by heads fitted to the other; the mean loss of a label."""
        dataset, teach = self._dataset, self._split.teach
        rng = np.random.default_rng([self._settings.seed, n])
        first = (rng.permutation(self._group.max() + 1) % 2 == 0)[self._group[dataset.item[teach, 0]]]
        ridge = self._ridge(features)
        total, count = 0.0, 0
        for fitted, taught in ((teach[~first], teach[first]), (teach[first], teach[~first])):
            users = np.intersect1d(dataset.user[fitted], dataset.user[taught])
            taught = taught[np.isin(dataset.user[taught], users)]
            if not len(taught):
                continue
            own = [fitted[dataset.user[fitted] == user] for user in users]
            around = self._around(features, fitted, prior, ridge)
            heads = solve_for(dataset, features, around, own, self._device)
            lesson = self._lesson(taught, np.searchsorted(users, dataset.user[taught]))
            total += self._optimiser.teach(lesson, heads, self._texts, self._style)
            count += len(taught)
        return total / max(1, count)

    def _ridge(self, features: FloatArray) -> float:
        pool, d = pool_of(self._dataset, features, self._split.teach), self._encoder.dim
        members = teachers(pool, MEMBER_CAP)
        return choose_ridge(pool, members, self._starter, device=self._device, n_embedding=d)

    def _around(self, features: FloatArray, labels: IntArray, prior: Prior, ridge: float) -> Prior:
        """The prior, but its mean fitted to these labels alone."""
        pool, starter = pool_of(self._dataset, features, labels), self._starter
        centre = np.append(starter.mean, starter.bias_mean).astype(np.float64)
        precision = mean_precision(starter, self._encoder.dim, ridge)
        theta = Pooled.of(pool, teachers(pool, MEMBER_CAP), self._device).solve(centre, precision)
        return replace(prior, mean=theta[:-1].astype(np.float32), bias_mean=float(theta[-1]))

    def _lesson(self, labels: IntArray, member: IntArray) -> Lesson:
        return Lesson.of(self._text_of[self._dataset.item[labels]], self._dataset.y[labels], member)

    # --- those who were kept out --------------------------------------------------------------------------

    def _held_out(self, features: FloatArray, prior: Prior) -> tuple[float, float]:
        jury = self._split.stop
        said = [ask(self._dataset, features, prior, jury, k, self._device) for k in ASKED_K]
        metrics = np.concatenate([metric for _, metric in said])
        return float(np.mean([loss for loss, _ in said])), float(np.nanmean(metrics))

    def _judge(self) -> tuple[float, float, int]:
        """Mean gain of the judges over the frozen encoder, its standard error, and how many they are."""
        jury, metrics = self._split.judge, list[DoubleArray]()
        for frozen in (False, True):
            features = self._features(frozen=frozen)
            prior = self._fit(features)
            said = [ask(self._dataset, features, prior, jury, k, self._device)[1] for k in ASKED_K]
            metrics.append(np.stack(said))  # (ks, u)
        difference = metrics[0] - metrics[1]
        here = ~np.isnan(difference).all(axis=0)
        gain, gain_se = clustered_mean(np.nanmean(difference[:, here], axis=0), np.flatnonzero(here))
        return gain, gain_se, int(here.sum())

    # --- checkpoints --------------------------------------------------------------------------------------

    def _resume(self) -> Progress:
        found = None if self._checkpoint is None else read_progress(self._checkpoint, self._task)
        if found is None:
            return Progress()
        self._encoder.put(found.weights)
        self._optimiser.restore(found.optimiser)
        return found

    def _save(self, done: Progress) -> None:
        if self._checkpoint is not None:
            done.weights, done.optimiser = self._encoder.trained(), self._optimiser.state()
            write_progress(self._checkpoint, done, self._task)


def _content(dataset: Dataset, labels: IntArray) -> str:
    """SHA-256 of the labels that are used, and of all texts and groups."""
    texts = repr((dataset.name, dataset.texts, dataset.groups)).encode()
    parts = (dataset.user[labels], dataset.item[labels], dataset.y[labels])
    return hashlib.sha256(
        texts + b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    ).hexdigest()


def as_json(result: Adapted) -> dict[str, Any]:
    """What is worth keeping beside an adapter."""
    return {
        "history": [asdict(entry) for entry in result.history],
        "best_round": result.best_round,
        "gain": result.gain,
        "gain_se": result.gain_se,
        "judges": result.n_judges,
    }
