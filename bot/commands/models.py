"""``simpatico models``: download or convert the language model ahead of the first start."""

from __future__ import annotations

import argparse

from bot.config import Settings
from bot.generators.factory import prepare_local_model
from personalization.loading_watch import watching


def run(_: argparse.Namespace, settings: Settings) -> None:
    """Prepare the configured model, with a progress bar.

    Raises:
        GeneratorError: The model is missing or damaged.
    """
    with watching("the language model"):
        prepare_local_model(settings.generator, progress=True)
