"""Shape of an adapter of the encoder. Imports nothing, so that the command line can name its defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdapterShape:
    """Hyperparameters of an adapter.

    Attributes:
        rank: Rank of each change, >= 1.
        alpha: Scale of the changes; each is multiplied by ``alpha / rank``.
        dropout: Share of the adapter's inputs that is dropped in training, 0 to 1.
        layers: Number of blocks that change, counted from the last; None: all.
        attention_only: True: only queries and values change, as in the source. False: every linear layer.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.1
    layers: int | None = None
    attention_only: bool = True
