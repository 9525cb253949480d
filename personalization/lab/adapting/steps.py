"""Gradient steps on an encoder's adapter, with the members' heads frozen.

:class:`GroupedLabels` holds labels grouped by reply (or by pair of replies), so that a reply with many labels
is encoded once per step. The loss is the mean negative log likelihood of the labels under the members'
heads; only the adapter has gradients. Used by :mod:`personalization.lab.adapting.adaptation`, which
solves the heads.

Source: Loshchilov and Hutter (2019), Decoupled weight decay regularization; (2017), SGDR, for the cosine.
"""

# torch ships without types for these.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from personalization.arrays import FloatArray, IntArray
from personalization.encoding.adapter import AdaptableEncoder
from personalization.heads.heads import HeadBank
from personalization.lab.adapting.augmentation import augmented
from personalization.lab.options import StepSettings

Note = Callable[[str, float, int], None]


@dataclass(frozen=True, eq=False, slots=True)
class GroupedLabels:
    """Labels grouped by reply, or by pair of replies.

    Attributes:
        texts: Indices of the texts of each row, ``m x 1``, or ``m x 2`` for pairs.
        starts: Offset of each row's labels, ``m + 1``.
        y: Label values, ``n`` float32.
        member: Index of the head that scores each label, ``n``.
    """

    texts: IntArray
    starts: IntArray
    y: FloatArray
    member: IntArray

    @classmethod
    def of(cls, texts: IntArray, y: FloatArray, member: IntArray) -> GroupedLabels:
        """Group ``n`` labels by their texts (``n x 1`` or ``n x 2``)."""
        rows, row = np.unique(texts, axis=0, return_inverse=True)
        order = np.argsort(row.ravel(), kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(row.ravel(), minlength=len(rows)))])
        return cls(rows, starts, y[order], member[order])

    def __len__(self) -> int:
        return len(self.texts)

    def labels(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Select the labels of some rows: each label's position in ``rows``, and its index in ``y``."""
        sizes = self.starts[rows + 1] - self.starts[rows]
        about = np.repeat(np.arange(len(rows)), sizes)
        return about, np.concatenate([np.arange(int(self.starts[r]), int(self.starts[r + 1])) for r in rows])


class AdapterOptimiser:
    """AdamW on an adapter, with warm-up and cosine decay, in mixed precision if the device supports it.

    Args:
        encoder: Encoder whose adapter is trained.
        settings: Settings of the optimiser.
        n_steps: Number of steps after which the learning rate is zero.
        seed: Seed of dropout and order. The randomness of a step depends only on the seed and the number of
            the step, so a checkpoint needs no generator state.
        note: Called with ``(name, value, step)`` for each figure.
    """

    def __init__(
        self, encoder: AdaptableEncoder, settings: StepSettings, *, n_steps: int, seed: int, note: Note
    ) -> None:
        self._encoder, self._settings, self._note, self._seed = encoder, settings, note, seed
        self._n_steps = max(1, n_steps)
        self._names = list(encoder.trained())
        self._weights = list(encoder.trained().values())
        self._adam = torch.optim.AdamW(
            self._weights, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._dtype = _best_dtype(encoder.device)
        self._scaler = torch.amp.GradScaler(encoder.device.type, enabled=self._dtype == torch.float16)
        self.step = 0

    def teach(
        self, grouped: GroupedLabels, heads: HeadBank, texts: Sequence[str], style: FloatArray
    ) -> float:
        """Train one pass over the labels, in shuffled order.

        Args:
            grouped: The labels.
            heads: Frozen heads of the labels' members, ``u``.
            texts: Texts that the labels' rows refer to.
            style: Style features of the texts, ``len(texts) x s`` float32.

        Returns:
            Sum of the losses of all labels.
        """
        settings = self._settings
        order = np.random.default_rng([self._seed, self.step]).permutation(len(grouped))
        per_row = len(grouped.y) / max(1, len(grouped))
        total = 0.0
        for start in range(0, len(order), settings.replies):
            rows = order[start : start + settings.replies]
            for part in np.array_split(rows, min(settings.accumulate, len(rows))):
                total += self._backward(grouped, part, heads, texts, style, scale=per_row * len(rows))
            self._advance()
        return total

    def _chance(self, part: int) -> int:
        """Derive the seed of one part of a step; all parts have different seeds."""
        return int(np.random.SeedSequence([self._seed, self.step, part]).generate_state(1)[0])

    def _backward(
        self,
        grouped: GroupedLabels,
        rows: IntArray,
        heads: HeadBank,
        texts: Sequence[str],
        style: FloatArray,
        *,
        scale: float,
    ) -> float:
        """Add the gradients of some rows' labels, and return the sum of their losses.

        In adversarial training, the mean of this loss and of the loss at changed word embeddings is trained.
        The change is the step of a given length that raises the loss most, to first order.

        Source: Miyato, Dai, Goodfellow (2017), Adversarial training methods for semi-supervised text
        classification, equation 4. We take the length relative to the norm of the word embeddings, instead of
        normalising those.
        """
        seed, radius = self._chance(int(rows[0])), self._settings.adversarial
        rng = np.random.default_rng(seed)
        used: list[int] = np.unique(grouped.texts[rows]).tolist()
        here = {i: texts[i] for i in used}
        if self._settings.augment:
            here = {i: augmented(text, rng) for i, text in here.items()}

        def loss_at(change: Tensor | None) -> tuple[Tensor, list[Tensor]]:
            watched = self._encoder.words(change) if radius else nullcontext(list[Tensor]())
            with torch.random.fork_rng(self._devices()), watched as words:
                torch.manual_seed(seed)  # the same dropout in both passes
                loss = self._loss(grouped, rows, heads, here, style)  # sum over the labels
            self._scaler.scale(loss / (scale * (2 if radius else 1))).backward()
            return loss.detach(), words

        loss, words = loss_at(None)
        for states in words:
            assert states.grad is not None
            sizes = states.detach().norm(dim=(1, 2), keepdim=True)  # (n, 1, 1)
            slopes = states.grad.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12)  # (n, 1, 1)
            loss_at(radius * sizes / slopes * states.grad)
        return float(loss)

    def _loss(
        self,
        grouped: GroupedLabels,
        rows: IntArray,
        heads: HeadBank,
        texts: Mapping[int, str],
        style: FloatArray,
    ) -> Tensor:
        device = self._encoder.device
        used, place = np.unique(grouped.texts[rows], return_inverse=True)
        here: list[int] = used.tolist()
        embeddings = self._encoder.embed(
            [texts[i] for i in here], max_tokens=self._settings.max_tokens, dtype=self._dtype
        )
        every = torch.cat([embeddings, torch.from_numpy(style[used]).to(device)], dim=1)  # (texts, d)
        phi = every[torch.from_numpy(place.reshape(len(rows), -1)).to(device)]  # (rows, 1 or 2, d)
        pairs = phi.shape[1] == 2
        phi = phi[:, 0] - phi[:, 1] if pairs else phi[:, 0]  # (rows, d)
        about, label = grouped.labels(rows)
        users, user = np.unique(grouped.member[label], return_inverse=True)
        W = torch.from_numpy(heads.weights[users].astype(np.float32)).to(device)  # (u, d)
        scores = phi @ W.T  # (rows, u)
        if not pairs:
            scores = scores + torch.from_numpy(heads.biases[users].astype(np.float32)).to(device)
        of_labels = scores[torch.from_numpy(about).to(device), torch.from_numpy(user).to(device)]  # (n,)
        y = torch.from_numpy(grouped.y[label]).to(device)
        return binary_cross_entropy_with_logits(of_labels, y, reduction="sum")

    def _advance(self) -> None:
        for group in self._adam.param_groups:
            group["lr"] = self._settings.learning_rate * self._pace()
        self._scaler.unscale_(self._adam)
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self._settings.clip)
        self._scaler.step(self._adam)
        self._scaler.update()
        self._adam.zero_grad(set_to_none=True)
        self._note("steps/gradient norm", float(norm), self.step)
        self._note("steps/learning rate", float(self._adam.param_groups[0]["lr"]), self.step)
        self.step += 1

    def _pace(self) -> float:
        """Compute the learning rate relative to its peak: linear warm-up, then cosine decay."""
        rising = max(1, round(self._settings.warm_up * self._n_steps))
        if self.step < rising:
            return (self.step + 1) / rising
        return (1 + math.cos(math.pi * min(1.0, self.step / self._n_steps))) / 2

    def _devices(self) -> list[torch.device]:
        return [self._encoder.device] if self._encoder.device.type == "cuda" else []

    # --- checkpoints --------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Return all state that the next step depends on, except the weights."""
        kept = {"step": torch.tensor(self.step)}
        for name, weight in zip(self._names, self._weights, strict=True):
            for key, value in self._adam.state.get(weight, {}).items():
                kept[f"adam/{key}/{name}"] = torch.as_tensor(value).detach().cpu().clone()
        if self._scaler.is_enabled():
            scaler = self._scaler.state_dict()
            kept |= {f"scaler/{key}": torch.tensor(float(value)) for key, value in scaler.items()}
        return kept

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore the state that :meth:`state` returned."""
        self.step = int(state["step"])
        for name, weight in zip(self._names, self._weights, strict=True):
            own: dict[str, Any] = {
                key.split("/")[1]: value.clone() if key.split("/")[1] == "step" else value.to(weight)
                for key, value in state.items()
                if key.startswith("adam/") and key.split("/", 2)[2] == name
            }
            if own:
                self._adam.state[weight] = own
        scaler = {key.split("/")[1]: value for key, value in state.items() if key.startswith("scaler/")}
        if scaler and self._scaler.is_enabled():
            whole = {"growth_interval", "_growth_tracker"}
            self._scaler.load_state_dict(
                {key: int(value) if key in whole else float(value) for key, value in scaler.items()}
            )


def _best_dtype(device: torch.device) -> torch.dtype:
    """Choose half precision on CUDA, where it is faster, and float32 elsewhere."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
