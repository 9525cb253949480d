"""What plug-ins are made of: the types that a plug-in may import, and the parts that run plug-ins.

``docs/plugins.md`` is the manual for authors. The names in ``__all__`` follow semantic versioning: within one
major version of Simpatico (one minor version before 1.0) they are only added to.
"""

from __future__ import annotations

from bot.generation import (
    Candidate,
    Context,
    GeneratorError,
    GeneratorUnavailable,
    Picture,
    Shape,
    Style,
    Turn,
)
from bot.plugins.generator import GeneratorPlugin
from bot.plugins.text_filters import TextFilter
from bot.settings import GeneratorSettings
from personalization.encoding.plugged import EncoderPlugin
from personalization.labels.labels import Label
from personalization.labels.plugged import LabelSource

__all__ = [
    "Candidate",
    "Context",
    "EncoderPlugin",
    "GeneratorError",
    "GeneratorPlugin",
    "GeneratorSettings",
    "GeneratorUnavailable",
    "Label",
    "LabelSource",
    "Picture",
    "Shape",
    "Style",
    "TextFilter",
    "Turn",
]
