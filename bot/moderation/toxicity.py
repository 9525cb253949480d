"""Toxicity judge: a model chosen by the host; off unless ``config.toml`` names one.

Any Hugging Face model for sequence classification works. It implements the protocol
:class:`bot.moderation.output_filter.Judge` and runs on a dedicated thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from bot.moderation import ToxicityError
from bot.settings import SafetySettings
from personalization.devices import resolve_device
from personalization.loading_errors import check_complete, loading
from personalization.loading_watch import watching

HARMLESS = {
    "neutral",
    "non-toxic",
    "non_toxic",
    "nontoxic",
    "not-toxic",
    "not_toxic",
    "normal",
    "safe",
    "ok",
    "label_0",
}
"""Harmless labels in lower case, used when the configuration names no toxic ones."""
PIECE = 1000
"""Characters per piece of a text; the worst piece counts. About half of what such models can read."""


class ToxicityModel:
    """A transformers model for sequence classification.

    Args:
        model: With ``config.id2label``.
        tokenizer: Tokenizer of the model.
        device: Device to run on.
        toxic: Labels that count as toxic; empty: all except :data:`HARMLESS`.

    Raises:
        ToxicityError: The model has none of these labels, or only harmless ones.
    """

    def __init__(self, model: Any, tokenizer: Any, device: torch.device, toxic: Sequence[str] = ()) -> None:
        self._model = model.to(device).eval()
        self._tokenizer = tokenizer
        self._device = device
        labels = {int(i): str(name) for i, name in model.config.id2label.items()}
        if toxic:
            self._toxic = [i for i, name in labels.items() if name in toxic]
        else:
            self._toxic = [
                i for i, name in labels.items() if len(labels) == 1 or name.lower() not in HARMLESS
            ]
        if not self._toxic:
            raise ToxicityError(
                f"expected a model with toxic labels, found only {sorted(labels.values())}; name the"
                " toxic ones in [safety] toxic_labels"
            )
        self._longest = min(512, int(getattr(model.config, "max_position_embeddings", 512)))
        self._each_alone = len(labels) == 1 or model.config.problem_type == "multi_label_classification"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="toxicity")

    async def toxicity(self, texts: Sequence[str]) -> list[float]:
        """Return the toxicity of each text, 0 to 1, in order.

        Raises:
            RuntimeError: The model failed.
        """
        return await asyncio.wrap_future(self._thread.submit(self._judge, list(texts)))

    def close(self) -> None:
        """Stop the thread after its current job; queued jobs are cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _judge(self, texts: list[str]) -> list[float]:
        """Return the score of the worst piece of each text. Blocks."""
        pieces = [
            (i, t[start : start + PIECE]) for i, t in enumerate(texts) for start in range(0, len(t), PIECE)
        ]
        worst = [0.0] * len(texts)
        for start in range(0, len(pieces), 16):
            some = pieces[start : start + 16]
            for (i, _), score in zip(some, self._scores([piece for _, piece in some]), strict=True):
                worst[i] = max(worst[i], score)
        return worst

    def _scores(self, texts: list[str]) -> list[float]:
        with torch.inference_mode():
            tokens = self._tokenizer(
                texts, padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
            ).to(self._device)
            logits = self._model(**tokens).logits.float()  # (texts, labels)
            if self._each_alone:
                return logits.sigmoid()[:, self._toxic].amax(dim=1).tolist()  # (texts,)
            return logits.softmax(dim=1)[:, self._toxic].sum(dim=1).tolist()  # (texts,)


@watching("the toxicity model")
def load_judge(settings: SafetySettings) -> ToxicityModel | None:
    """Load the configured model; None if none is configured. Blocks for seconds.

    Raises:
        ToxicityError: The model is missing or damaged, or has no toxic label.
        DeviceMissing: The configured device is not in this machine.
    """
    name = settings.toxicity_model
    if not name:
        return None
    device = resolve_device(settings.device)
    source = Path(name) if Path(name).is_dir() else name
    otherwise = 'correct [safety] toxicity_model, or set it to ""'
    with loading("the toxicity model", source, ToxicityError, otherwise):
        import transformers  # imported here, because it takes seconds and no toxicity model is the default

        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            name, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
        check_complete(name, report)
        return ToxicityModel(model, tokenizer, device, settings.toxic_labels)
