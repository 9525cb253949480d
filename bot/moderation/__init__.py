"""Checks candidates before they are posted, and keeps the queue of replies that members reported.

No Discord here. May import generation, settings, languages and the other leaves of ``bot``.
"""

from __future__ import annotations


class ToxicityError(Exception):
    """The toxicity model cannot be used; check [safety] toxicity_model in config.toml."""
