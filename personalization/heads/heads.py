"""Heads and the prior that they share, in memory and as bytes.

A head is one member's last layer: a weight for every feature and an intercept. A :class:`HeadBank` stacks the
heads of one round (``u x d``). The prior answers for members without a head, and is the centre of the heads'
regularisation. Made by ``personalization.solving`` and ``personalization.population``, stored by
``personalization.rounds``, read by ``personalization.ranking``. Everything is NumPy and safetensors, so that
reading a head runs no code and scoring four candidates needs no torch.

Weights are stored as float16: a head then takes about 1.4 KB, and the last digits of the solve, which may
differ with padding or device, do not reach the bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np

from personalization.arrays import DoubleArray, FloatArray, HalfArray, IntArray
from personalization.errors import HeadDamaged
from personalization.heads import named_tables as keyed
from personalization.heads.feature_space import LOUD_CHANCES, FeatureSpace, chances_of, loud_variance
from personalization.heads.packing import Arrays, Shapes, pack_arrays, unpack_arrays
from personalization.labels.labels import Meaning
from personalization.settings import LearningSettings

LABEL_BUCKETS = (1, 3, 6, 11, 21, 51)
"""First number of labels of each bucket but the first, which is 0 labels."""
N_BUCKETS = len(LABEL_BUCKETS) + 1


@dataclass(frozen=True, eq=False)
class Prior:
    """The distribution of heads in the population, with the tables that are learnt along with it.

    Attributes:
        mean: Weights of the average member, ``d`` float32.
        variance: Variance of a member's weights around ``mean``, by feature, ``d`` float32, >= 0.
        bias_mean: Intercept of the average member, logits.
        bias_variance: Variance of a member's intercept, > 0. Separate from the weights, because members'
            thresholds differ far more than their tastes.
        feature_id: Id of the encoder and the style features that the weights belong to.
        factor: Learnt directions in which members differ, ``(d + 1) x r`` float32, the intercept's row last;
            weights and intercept have covariance ``diag(variance, bias_variance) + factor factor'``. None: no
            direction has been learnt.
        calibration: A row (trust, slope, shift) for each bucket of :data:`LABEL_BUCKETS`, by the number of
            labels behind a score, ``7 x 3`` float32. None: (1, 1, 0) everywhere.
        meanings: Learnt meanings of emoji, keyed by
            :meth:`personalization.labels.labels.EmojiValence.key_of`. Other emoji have the meaning of the
            tables.
        shifts: Pseudonym of a server -> deviation of its members' mean, as coordinates in :meth:`directions`,
            ``r + 1`` float32 (:mod:`personalization.population.server_shifts`). Other servers share ``mean``.
        loud: Variance of a feature's weight for members in whose taste it is loud
            (:mod:`personalization.solving.loud_tastes`), ``d`` float32; 0: it is never loud. None: no feature
            is.
        loud_chances: Probabilities that one feature is loud in a member's taste, and that two are.
        origin: Id of the prior that :meth:`around` derived this one from; empty for an original.
    """

    mean: FloatArray
    variance: FloatArray
    bias_mean: float
    bias_variance: float
    feature_id: str
    factor: FloatArray | None = None
    calibration: FloatArray | None = None
    meanings: Mapping[str, Meaning] = field(default_factory=dict[str, Meaning])
    shifts: Mapping[bytes, FloatArray] = field(default_factory=dict[bytes, FloatArray])
    loud: FloatArray | None = None
    loud_chances: tuple[float, float] = LOUD_CHANCES
    origin: str = ""

    @cached_property
    def prior_id(self) -> str:
        """First 32 hex digits of the SHA-256 of the bytes; equal ids mean equal priors."""
        return self.origin or hashlib.sha256(self.to_bytes()).hexdigest()[:32]

    def around(self, guild: bytes) -> Self:
        """Return the prior of one server's members: moved to their mean, without shifts and meanings."""
        bare = replace(self, shifts={}, meanings={}, origin=self.prior_id)
        if (shift := self.shifts.get(guild)) is None:
            return bare
        moved = self.directions() @ shift  # (d + 1,)
        mean = (self.mean + moved[:-1]).astype(np.float32)
        return replace(bare, mean=mean, bias_mean=self.bias_mean + float(moved[-1]))

    @property
    def dim(self) -> int:
        """Number of features (d)."""
        return len(self.mean)

    def loud_features(self) -> IntArray:
        """Return the indices of the features that may be loud (s)."""
        return np.zeros(0, dtype=np.int64) if self.loud is None else np.flatnonzero(self.loud)

    def directions(self) -> DoubleArray:
        """Return the directions in which members differ: the factor, then the own intercept.

        Returns:
            ``(d + 1) x (r + 1)`` float64.
        """
        own = np.zeros((self.dim + 1, 1))
        own[-1] = self.bias_variance**0.5
        return own if self.factor is None else np.hstack([self.factor.astype(np.float64), own])

    def trust_at(self, n_labels: IntArray) -> DoubleArray:
        """Return the trust in members' own weights, 0 to 1, by their number of labels; both are ``u``."""
        return self._calibrated(0, n_labels)

    def probability(self, scores: FloatArray, n_labels: int) -> FloatArray:
        """Turn scores into calibrated probabilities of being liked.

        Args:
            scores: Logits, any shape, float32.
            n_labels: Number of labels behind the head that gave the scores; 0 for the prior.

        Returns:
            0 to 1, float32, in the shape of ``scores``.
        """
        n = np.array([n_labels])
        logits = self._calibrated(1, n)[0] * scores + self._calibrated(2, n)[0]
        return (1 / (1 + np.exp(-logits))).astype(np.float32)

    def _calibrated(self, column: int, n_labels: IntArray) -> DoubleArray:
        if self.calibration is None:
            return np.full(n_labels.shape, (1.0, 1.0, 0.0)[column])
        bucket = np.searchsorted(LABEL_BUCKETS, n_labels, side="right")  # (u,)
        return self.calibration[bucket, column].astype(np.float64)

    def head(self) -> Head:
        """Return the head of a member without labels, which is the mean."""
        return Head(
            weights=self.mean.astype(np.float16),
            bias=float(np.float16(self.bias_mean)),
            feature_id=self.feature_id,
            prior_id=self.prior_id,
        )

    def to_bytes(self) -> bytes:
        """Serialise as safetensors; equal priors give equal bytes."""
        bias = np.array([self.bias_mean, self.bias_variance], dtype=np.float64)
        arrays: Arrays = {"mean": self.mean, "variance": self.variance, "bias": bias}
        if self.factor is not None:
            arrays["factor"] = np.ascontiguousarray(self.factor)
        if self.calibration is not None:
            arrays["calibration"] = np.ascontiguousarray(self.calibration)
        if self.loud is not None:
            arrays["loud"] = self.loud
            arrays["loud_chances"] = np.array(self.loud_chances, dtype=np.float64)
        named, names = keyed.pack(self.meanings, self.shifts)
        return pack_arrays(arrays | named, feature_id=self.feature_id, **names)

    @classmethod
    def from_bytes(cls, body: bytes, *, feature_id: str, dim: int) -> Self:
        """Parse what :meth:`to_bytes` wrote.

        Args:
            body: The bytes.
            feature_id: Features that the prior must be made for.
            dim: Number of these features (d).

        Raises:
            HeadDamaged: The bytes are not a valid prior.
            HeadOutdated: The prior was made for other features.
        """
        shapes = {"mean": ("float32", dim), "variance": ("float32", dim), "bias": ("float64", 2)}
        optional: Shapes = {
            "factor": ("float32", dim + 1, None),
            "calibration": ("float32", N_BUCKETS, 3),
            "loud": ("float32", dim),
            "loud_chances": ("float64", 2),
            **keyed.SHAPES,
        }
        arrays, metadata = unpack_arrays(
            body, "prior", feature_id=feature_id, shapes=shapes, optional=optional
        )
        bias_mean, bias_variance = (float(value) for value in arrays["bias"])
        loud = arrays.get("loud")
        variances = [arrays["variance"]] if loud is None else [arrays["variance"], loud]
        if bias_variance <= 0 or not all((one >= 0).all() for one in variances):
            raise HeadDamaged(
                "expected a prior with variances >= 0, and > 0 for the intercept, found others; the next"
                " rebuild replaces it"
            )
        factor = arrays.get("factor")
        n_directions = 1 + (0 if factor is None else factor.shape[1])
        return cls(
            *(arrays["mean"], arrays["variance"], bias_mean, bias_variance, feature_id),
            factor,
            arrays.get("calibration"),
            keyed.meanings_of(metadata.get("emoji"), arrays.get("meanings")),
            keyed.shifts_of(metadata.get("guilds"), arrays.get("shifts"), n_directions),
            loud,
            chances_of(arrays.get("loud_chances")),
        )


@dataclass(frozen=True, eq=False)
class Head:
    """One member's last layer.

    Attributes:
        weights: ``d`` float16.
        bias: Intercept, logits.
        feature_id: Id of the encoder and the style features that the weights belong to.
        prior_id: Id of the prior that the head was solved under.
        share: Share of the member's own taste in the weights, 0 (the prior's weights) to 1, from
            :mod:`personalization.solving.gate`.
        spread: Packed posterior covariance (:mod:`personalization.heads.spread`), float16. None: that of a
            member without labels.
    """

    weights: HalfArray
    bias: float
    feature_id: str
    prior_id: str
    share: float = 1.0
    spread: HalfArray | None = None

    def score(self, features: FloatArray) -> FloatArray:
        """Score replies by the logit of being liked.

        Args:
            features: ``k x d`` float32.

        Returns:
            ``k`` float32.
        """
        return features @ self.weights.astype(np.float32) + np.float32(self.bias)

    def to_bytes(self) -> bytes:
        """Serialise as safetensors; equal heads give equal bytes, about 1.4 KB at 400 features."""
        arrays: Arrays = {"w": self.weights, "b": np.array([self.bias], dtype=np.float16)}
        if self.share != 1 or self.spread is not None:
            spread = () if self.spread is None else self.spread
            arrays["s"] = np.array([self.share, *spread], dtype=np.float16)
        return pack_arrays(arrays, feature_id=self.feature_id, prior_id=self.prior_id)

    @classmethod
    def from_bytes(cls, body: bytes, *, feature_id: str, dim: int) -> Self:
        """Parse what :meth:`to_bytes` wrote.

        Args:
            body: The bytes.
            feature_id: Features that the head must be made for.
            dim: Number of these features (d).

        Raises:
            HeadDamaged: The bytes are not a valid head.
            HeadOutdated: The head was made for other features.
        """
        shapes = {"w": ("float16", dim), "b": ("float16", 1)}
        optional: Shapes = {"s": ("float16", None)}
        arrays, metadata = unpack_arrays(
            body, "head", feature_id=feature_id, shapes=shapes, optional=optional
        )
        share, *spread = arrays.get("s", np.ones(1, np.float16))
        if not 0 <= share <= 1:
            raise HeadDamaged(f"expected a head with a share from 0 to 1, found {share}; it is not used")
        prior_id, kept = str(metadata.get("prior_id", "")), np.array(spread, np.float16) if spread else None
        return cls(arrays["w"], float(arrays["b"][0]), feature_id, prior_id, float(share), kept)


@dataclass(frozen=True, eq=False)
class HeadBank:
    """Many heads of the same features and prior, stacked.

    Attributes:
        weights: ``u x d`` float16.
        biases: ``u`` float16.
        feature_id: As in :class:`Head`.
        prior_id: As in :class:`Head`.
        shares: As in :class:`Head`, ``u`` float16; None: 1 everywhere.
        spreads: As in :class:`Head`, ``u x s`` float16; None: nowhere.
    """

    weights: HalfArray
    biases: HalfArray
    feature_id: str
    prior_id: str
    shares: HalfArray | None = None
    spreads: HalfArray | None = None

    def __len__(self) -> int:
        return len(self.weights)

    def head(self, u: int) -> Head:
        """Return a copy of the head of member ``u``."""
        share = 1.0 if self.shares is None else float(self.shares[u])
        spread = None if self.spreads is None or not share else self.spreads[u].copy()
        return Head(
            self.weights[u].copy(), float(self.biases[u]), self.feature_id, self.prior_id, share, spread
        )

    @classmethod
    def stack(cls, heads: Sequence[Head]) -> Self:
        """Stack heads that share features and prior.

        Raises:
            ValueError: There is no head, or the heads have different features or priors.
        """
        kinds = {(head.feature_id, head.prior_id, len(head.weights)) for head in heads}
        if len(kinds) != 1:
            raise ValueError(f"expected heads of one kind, found {len(kinds)} kinds")
        weights = np.stack([head.weights for head in heads])  # (u, d)
        biases, shares = np.array([(head.bias, head.share) for head in heads], dtype=np.float16).T
        known = [head.spread for head in heads if head.spread is not None]
        spreads = np.stack(known) if len(known) == len(heads) else None  # (u, s)
        return cls(weights, biases, heads[0].feature_id, heads[0].prior_id, shares, spreads)

    def scores(self, features: FloatArray) -> FloatArray:
        """Score each member's own replies.

        Args:
            features: ``u x k x d`` float32.

        Returns:
            ``u x k`` float32.
        """
        weights = self.weights.astype(np.float32)[:, :, None]  # (u, d, 1)
        return (features @ weights)[:, :, 0] + self.biases.astype(np.float32)[:, None]  # (u, k)


def starter_prior(features: FeatureSpace, settings: LearningSettings) -> Prior:
    """Make the plain prior of an unknown population: zero mean, variances from the settings.

    The variances make embedding and style features move a score equally far, regardless of their number. An
    embedding has length 1, so weights of variance ``delta_sd ** 2`` move a score by about ``delta_sd``
    logits. Each style feature has unit scale, so all of them share ``style_sd ** 2``. (With that variance for
    each, five labels made the ranking of real judges' texts worse than none.)

    Args:
        features: Features of the prior.
        settings: Standard deviations.
    """
    n_style = features.dim - features.n_embedding
    variance = np.full(features.dim, settings.delta_sd**2, dtype=np.float32)
    variance[features.n_embedding :] = settings.style_sd**2 / max(1, n_style)
    return Prior(
        np.zeros_like(variance),
        variance,
        0.0,
        settings.bias_sd**2,
        features.feature_id,
        loud=loud_variance(features, settings),
    )
