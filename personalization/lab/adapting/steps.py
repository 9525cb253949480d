"""Gradient steps on an encoder's adapter, with the members' heads frozen.

A lesson is labels about replies (or pairs of them), grouped by reply, so that a reply which many judged is
encoded once a step and hears all of them. The loss is the mean negative log likelihood of the labels under
the members' heads; only the adapter has gradients. Used by :mod:`personalization.lab.adapting.adaptation`,
which fits the heads; imports torch.

Source: Loshchilov and Hutter (2019), Decoupled weight decay regularization; (2017), SGDR, for the cosine.
"""

# torch ships without types for these.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from personalization.arrays import FloatArray, IntArray
from personalization.encoding.adapter import AdaptableEncoder
from personalization.heads.heads import HeadBank

Note = Callable[[str, float, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """How the optimiser steps.

    Attributes:
        learning_rate: Highest step size of AdamW, after the warm-up.
        weight_decay: Of AdamW.
        warm_up: Share of all steps in which the step size rises from zero; then it falls as half a cosine.
        replies: Different replies (or pairs) in one step.
        accumulate: Parts that a step is cut into to save memory, >= 1.
        max_tokens: Tokens of a reply that are read.
        clip: Largest length of a gradient.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up: float = 0.1
    replies: int = 32
    accumulate: int = 1
    max_tokens: int = 128
    clip: float = 1.0


@dataclass(frozen=True, eq=False, slots=True)
class Lesson:
    """Labels grouped by what they are about.

    Attributes:
        texts: Which texts each row is about, ``m x 1``, or ``m x 2`` for pairs.
        starts: Where each row's labels start, ``m + 1``.
        y: Label values, ``n`` float32.
        member: Whose head each label is scored by, ``n``.
    """

    texts: IntArray
    starts: IntArray
    y: FloatArray
    member: IntArray

    @classmethod
    def of(cls, texts: IntArray, y: FloatArray, member: IntArray) -> Lesson:
        """Group ``n`` labels: texts of each ``n x 1`` or ``n x 2``, value, member."""
        rows, row = np.unique(texts, axis=0, return_inverse=True)
        order = np.argsort(row.ravel(), kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(row.ravel(), minlength=len(rows)))])
        return cls(rows, starts, y[order], member[order])

    def __len__(self) -> int:
        return len(self.texts)

    def labels(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Labels of some rows: which of these rows each is about, and its place in ``y``."""
        sizes = self.starts[rows + 1] - self.starts[rows]
        about = np.repeat(np.arange(len(rows)), sizes)
        return about, np.concatenate([np.arange(int(self.starts[r]), int(self.starts[r + 1])) for r in rows])


class AdapterOptimiser:
    """AdamW with warm-up and cosine on an adapter, in mixed precision where the device has it.

    Args:
        encoder: Whose adapter is trained.
        settings: How.
        n_steps: After how many steps the step size is zero.
        seed: Of dropout. The chance of a step depends on this and its number alone, so that whoever goes on
            from a checkpoint needs no state of a generator.
        note: Told ``(name, value, step)``.
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

    def teach(self, lesson: Lesson, heads: HeadBank, texts: Sequence[str], style: FloatArray) -> float:
        """Go through a lesson once, in a shuffled order.

        Args:
            lesson: What is taught.
            heads: Of the members that the lesson names, ``u``; frozen.
            texts: That the lesson's rows are about.
            style: Of these texts, ``len(texts) x s`` float32.

        Returns:
            Sum of the labels' losses.
        """
        settings = self._settings
        order = np.random.default_rng([self._seed, self.step]).permutation(len(lesson))
        per_row = len(lesson.y) / max(1, len(lesson))
        total = 0.0
        for start in range(0, len(order), settings.replies):
            rows = order[start : start + settings.replies]
            for part in np.array_split(rows, min(settings.accumulate, len(rows))):
                with torch.random.fork_rng(self._devices()):
                    torch.manual_seed(self._chance(int(part[0])))
                    loss = self._loss(lesson, part, heads, texts, style)  # sum over the labels
                self._scaler.scale(loss / (per_row * len(rows))).backward()
                total += float(loss.detach())
            self._advance()
        return total

    def _chance(self, part: int) -> int:
        """Seed of one part of a step; no part shares another's."""
        return int(np.random.SeedSequence([self._seed, self.step, part]).generate_state(1)[0])

    def _loss(
        self, lesson: Lesson, rows: IntArray, heads: HeadBank, texts: Sequence[str], style: FloatArray
    ) -> Tensor:
        device = self._encoder.device
        used, place = np.unique(lesson.texts[rows], return_inverse=True)
        here: list[int] = used.tolist()
        embeddings = self._encoder.embed(
            [texts[i] for i in here], max_tokens=self._settings.max_tokens, dtype=self._dtype
        )
        every = torch.cat([embeddings, torch.from_numpy(style[used]).to(device)], dim=1)  # (texts, d)
        phi = every[torch.from_numpy(place.reshape(len(rows), -1)).to(device)]  # (rows, 1 or 2, d)
        pairs = phi.shape[1] == 2
        phi = phi[:, 0] - phi[:, 1] if pairs else phi[:, 0]  # (rows, d)
        about, label = lesson.labels(rows)
        users, user = np.unique(lesson.member[label], return_inverse=True)
        W = torch.from_numpy(heads.weights[users].astype(np.float32)).to(device)  # (u, d)
        scores = phi @ W.T  # (rows, u)
        if not pairs:
            scores = scores + torch.from_numpy(heads.biases[users].astype(np.float32)).to(device)
        told = scores[torch.from_numpy(about).to(device), torch.from_numpy(user).to(device)]  # (n,)
        y = torch.from_numpy(lesson.y[label]).to(device)
        return binary_cross_entropy_with_logits(told, y, reduction="sum")

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
        """Share of the highest step size: up in a line, down as half a cosine."""
        rising = max(1, round(self._settings.warm_up * self._n_steps))
        if self.step < rising:
            return (self.step + 1) / rising
        return (1 + math.cos(math.pi * min(1.0, self.step / self._n_steps))) / 2

    def _devices(self) -> list[torch.device]:
        return [self._encoder.device] if self._encoder.device.type == "cuda" else []

    # --- checkpoints --------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, but the weights."""
        kept = {"step": torch.tensor(self.step)}
        for name, weight in zip(self._names, self._weights, strict=True):
            for key, value in self._adam.state.get(weight, {}).items():
                kept[f"adam/{key}/{name}"] = torch.as_tensor(value).detach().cpu().clone()
        if self._scaler.is_enabled():
            scaler = self._scaler.state_dict()
            kept |= {f"scaler/{key}": torch.tensor(float(value)) for key, value in scaler.items()}
        return kept

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
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
    """Half the width where matrices are multiplied faster in it: on CUDA."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
