"""Options of the offline experiments and their defaults.

Imports neither NumPy nor torch, so that the command line can declare them without either.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from personalization.encoding.adapter_shape import AdapterShape

ROWS = ("global", "intercept", "independent", "isotropic", "simpatico")
"""Rows of an evaluation."""
NEW_SERVER_ROWS = ("plain", "starter")
"""Rows for a server on which no population prior has been learnt."""
ADVERSARIAL = 0.05
"""Length of the change of ``--adversarial``, as a share of the norm of a text's word embeddings."""
DEFAULT_K = (0, 1, 3, 5, 10, 20, 50)
"""Labels given to a head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """Settings of the optimiser.

    Attributes:
        learning_rate: Peak learning rate of AdamW, after the warm-up.
        weight_decay: Weight decay of AdamW.
        warm_up: Share of all steps in which the learning rate rises from zero; then it decays as half a
            cosine.
        replies: Number of different replies (or pairs) per step.
        accumulate: Number of parts for gradient accumulation, >= 1; more parts need less memory.
        max_tokens: Maximum tokens of a reply; longer replies are truncated.
        clip: Maximum norm of the gradient.
        augment: Whether the texts of each step are changed at random.
        adversarial: Length of the adversarial change of a text's word embeddings, as a share of their norm;
            0 means none.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up: float = 0.1
    replies: int = 32
    accumulate: int = 1
    max_tokens: int = 128
    clip: float = 1.0
    augment: bool = False
    adversarial: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptSettings:
    """Settings of an adaptation.

    Attributes:
        shape: Shape of the adapter.
        steps: Settings of the optimiser.
        rounds: Maximum number of rounds, >= 1.
        patience: Number of rounds without improvement after which the run ends, >= 1.
        seed: Seed of all random choices.
    """

    shape: AdapterShape = field(default_factory=AdapterShape)
    steps: StepSettings = field(default_factory=StepSettings)
    rounds: int = 8
    patience: int = 3
    seed: int = 0
