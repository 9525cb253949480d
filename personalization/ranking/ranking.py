"""Result of a ranking: the order of the candidates and everything that determined it.

Plain data. :mod:`personalization.ranking.ranker` makes it; ``bot.replies`` turns it into an impression.
"""

from __future__ import annotations

from dataclasses import dataclass

from personalization.arrays import FloatArray
from personalization.ranking.explain import Part


@dataclass(frozen=True, eq=False, slots=True)
class Ranking:
    """Order of the candidates for a member, with everything that determined it.

    Attributes:
        order: Indices of the candidates, the one to post first (k).
        scores: Scores used by the policy, by index (k).
        prior_scores: Scores for a member without labels, by index (k).
        propensities: Probability of posting each candidate, by index (k).
        chosen: ``order[0]``.
        policy: Name of the policy.
        head_version: Round in which the head was solved; 0 means the prior.
        feature_id: Id of the encoder and style features behind ``features``.
        features: Features of the candidates, ``k x d`` float32.
        personal: Scores of the head before the bound, logits, ``k`` float32.
        relevance: Cosine of message and candidate, ``k`` float32.
        parts: Parts of the chosen candidate's score, the largest first.
        uncertainty: Standard deviation of that score, logits.
        n_labels: Number of labels behind the head; 0 means that the prior answered.
    """

    order: tuple[int, ...]
    scores: tuple[float, ...]
    prior_scores: tuple[float, ...]
    propensities: tuple[float, ...]
    chosen: int
    policy: str
    head_version: int
    feature_id: str
    features: FloatArray
    personal: FloatArray
    relevance: FloatArray
    parts: tuple[Part, ...]
    uncertainty: float
    n_labels: int
