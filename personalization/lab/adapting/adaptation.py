"""Adapts the shared encoder to public judgements with LoRA, and tests the result on held-out members.

Each round has two steps. First, with the encoder fixed, the population prior and the members' heads are
solved from their labels. Second, with the heads fixed, the adapter takes gradient steps on the likelihood of
all labels. A head must not train the encoder on labels it was solved from. So each round splits the groups of
replies into two halves, and each half is trained with heads solved from the other one.

A held-out jury of members and groups is scored after each round. The best round is kept, and the run ends if
no better one follows (early stopping). A second jury, which has no influence on that choice, tests the result
at the end. Heads on the adapted encoder must rank better than on the frozen one, by more than twice the
standard error of the difference.

Each round ends with a checkpoint, and a resumed run gives exactly the result of an uninterrupted one. Only
public labels are used, none of the bot's members, so ``/forget-me`` does not affect the encoder
(docs/architecture.md). Called by ``simpatico adapt-encoder``; imports no storage.

Source: Hu et al. (2022), LoRA; Bertinetto et al. (2019), Meta-learning with differentiable closed-form
solvers, for features taught by heads that were solved on other examples.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from personalization.arrays import DoubleArray, FloatArray, IntArray
from personalization.devices import resolve_device
from personalization.encoding.adapter import AdaptableEncoder
from personalization.encoding.encoder import LoadedModel
from personalization.encoding.features import style_features
from personalization.heads.heads import Prior
from personalization.lab.adapting.checkpoints import Progress, read_progress, write_progress
from personalization.lab.adapting.steps import AdapterOptimiser, GroupedLabels, Note
from personalization.lab.baselines import MEMBER_CAP, pool_of
from personalization.lab.datasets import Dataset
from personalization.lab.kept_out import SURE, score_jury, solve_for, split_labels
from personalization.lab.options import AdaptSettings
from personalization.population.fit_prior import choose_ridge, fit_prior, mean_precision
from personalization.population.pooled import Pooled, teachers
from personalization.score_quality import clustered_mean
from personalization.settings import Device

ASKED_K = (0, 5, 20)
"""Numbers of labels given to the heads of the juries."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores of the early-stopping jury after a round, and the training loss of that round.

    Attributes:
        loss: Smooth ranking loss; the round with the smallest is the best.
        metric: Share of pairs ranked correctly.
        training_loss: Mean training loss per label; NaN for round 0, the frozen encoder.
    """

    loss: float
    metric: float
    training_loss: float


@dataclass(frozen=True, eq=False, slots=True)
class Adapted:
    """Result of an adaptation.

    Attributes:
        encoder: The encoder of the best round.
        history: Measurements of every round.
        best_round: Number of the best round; 0 is the frozen encoder.
        judged: Difference of the metric from the frozen encoder for each member of the test jury; NaN for
            members who cannot be scored.
    """

    encoder: AdaptableEncoder
    history: tuple[Measured, ...]
    best_round: int
    judged: DoubleArray

    @property
    def gain(self) -> float:
        """Mean paired difference of the test jury's metric over the frozen encoder."""
        return clustered_mean(self.judged, np.arange(len(self.judged)))[0]

    @property
    def gain_se(self) -> float:
        """Standard error of the gain; NaN with fewer than two members."""
        return clustered_mean(self.judged, np.arange(len(self.judged)))[1]

    @property
    def n_judges(self) -> int:
        """Number of members in the test jury who could be scored."""
        return int((~np.isnan(self.judged)).sum())

    def gain_over(self, other: Adapted) -> tuple[float, float]:
        """Return the mean difference from another adaptation of the same split, and its standard error."""
        return clustered_mean(self.judged - other.judged, np.arange(len(self.judged)))

    @property
    def is_better(self) -> bool:
        """Whether the test jury's gain exceeds twice its standard error."""
        return self.best_round > 0 and self.gain > SURE * self.gain_se


class Adaptation:
    """Adaptation of one encoder on one set of judgements.

    Args:
        dataset: Judgements.
        labels: Indices of the labels that may be used, ``n``.
        base: The encoder to adapt.
        starter: Centre of the fit of the population prior, for the features of that encoder.
        settings: Settings of the adaptation.
        device: Device on which to solve and train.
        checkpoint: File to resume from and to write to; None for no checkpoint.
        note: Called with ``(name, value, step)`` for every figure of the learning curves.

    Raises:
        AdapterTrouble: peft is missing, or the model cannot be adapted.
        DeviceMissing: This machine lacks the device.
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
        # Maximum number of steps, too small by a few: a reply with labels in both halves is taught twice.
        rows = self._grouped(self._split.teach, dataset.user[self._split.teach])
        self.n_steps = settings.rounds * 2 * math.ceil(len(rows) / 2 / settings.steps.replies)
        self._optimiser = AdapterOptimiser(
            self._encoder, settings.steps, n_steps=self.n_steps, seed=settings.seed, note=note
        )

    def run(self, progress: Callable[[str], None] = lambda text: None) -> Adapted:
        """Adapt the encoder and test the result. Blocks for minutes to hours.

        Args:
            progress: Called with a line of text after each round.

        Raises:
            AdapterTrouble: The checkpoint is damaged, or belongs to another task.
            OSError: The checkpoint cannot be written.
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
        history = tuple(Measured(*entry) for entry in done.history)
        return Adapted(self._encoder, history, best, self._judge())

    # --- one round ----------------------------------------------------------------------------------------

    def _features(self, *, frozen: bool = False) -> FloatArray:
        """Compute the features of all items with the current encoder, ``items x d``; 0 for unused texts."""
        embeddings = np.zeros((len(self._texts), self._encoder.dim), np.float32)
        used: list[int] = self._used.tolist()
        embeddings[used] = self._encoder.encode([self._texts[i] for i in used], frozen=frozen)
        return np.concatenate([embeddings, self._style], axis=1)[self._text_of]

    def _fit(self, features: FloatArray) -> Prior:
        """Fit the population prior to the training labels, without calibration, which is not used here."""
        return fit_prior(
            pool_of(self._dataset, features, self._split.teach),
            self._starter,
            member_cap=MEMBER_CAP,
            device=self._device,
            n_embedding=self._encoder.dim,
            calibrated=False,
        )

    def _teach(self, features: FloatArray, prior: Prior, n: int) -> float:
        """Train on each half of the groups with heads solved from the other; the mean loss per label."""
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
            grouped = self._grouped(taught, np.searchsorted(users, dataset.user[taught]))
            total += self._optimiser.teach(grouped, heads, self._texts, self._style)
            count += len(taught)
        return total / max(1, count)

    def _ridge(self, features: FloatArray) -> float:
        pool, d = pool_of(self._dataset, features, self._split.teach), self._encoder.dim
        members = teachers(pool, MEMBER_CAP)
        return choose_ridge(pool, members, self._starter, device=self._device, n_embedding=d)

    def _around(self, features: FloatArray, labels: IntArray, prior: Prior, ridge: float) -> Prior:
        """Replace the mean of the prior by one fitted to these labels only."""
        pool, starter = pool_of(self._dataset, features, labels), self._starter
        centre = np.append(starter.mean, starter.bias_mean).astype(np.float64)
        precision = mean_precision(starter, self._encoder.dim, ridge)
        theta = Pooled.of(pool, teachers(pool, MEMBER_CAP), self._device).solve(centre, precision)
        return replace(prior, mean=theta[:-1].astype(np.float32), bias_mean=float(theta[-1]))

    def _grouped(self, labels: IntArray, member: IntArray) -> GroupedLabels:
        return GroupedLabels.of(self._text_of[self._dataset.item[labels]], self._dataset.y[labels], member)

    # --- held-out juries ----------------------------------------------------------------------------------

    def _held_out(self, features: FloatArray, prior: Prior) -> tuple[float, float]:
        jury = self._split.stop
        scored = [score_jury(self._dataset, features, prior, jury, k, self._device) for k in ASKED_K]
        metrics = np.concatenate([metric for _, metric in scored])
        return float(np.mean([loss for loss, _ in scored])), float(np.nanmean(metrics))

    def _judge(self) -> DoubleArray:
        """Score the test jury on both encoders: mean gain over the numbers of labels, by member."""
        jury, metrics = self._split.judge, list[DoubleArray]()
        for frozen in (False, True):
            features = self._features(frozen=frozen)
            prior = self._fit(features)
            scored = [score_jury(self._dataset, features, prior, jury, k, self._device)[1] for k in ASKED_K]
            metrics.append(np.stack(scored))  # (ks, u)
        difference = metrics[0] - metrics[1]
        judged = np.full(len(jury), np.nan)
        here = ~np.isnan(difference).all(axis=0)
        judged[here] = np.nanmean(difference[:, here], axis=0)
        return judged

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
    """Hash the used labels and all texts and groups with SHA-256."""
    texts = repr((dataset.name, dataset.texts, dataset.groups)).encode()
    parts = (dataset.user[labels], dataset.item[labels], dataset.y[labels])
    return hashlib.sha256(
        texts + b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    ).hexdigest()


def as_json(result: Adapted) -> dict[str, Any]:
    """Convert a result to the JSON that is stored next to an adapter."""
    return {
        "history": [asdict(entry) for entry in result.history],
        "best_round": result.best_round,
        "gain": result.gain,
        "gain_se": result.gain_se,
        "judges": result.n_judges,
    }
