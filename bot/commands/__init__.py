"""The ``simpatico`` command line, one file per sub-command.

The module of a sub-command offers ``run(arguments, settings)``, which does the work; ``run(arguments)`` where
it needs no configuration. :mod:`bot.commands.declared` and :mod:`bot.commands.declared_experiments` declare
the arguments of all of them, and :mod:`bot.commands.main` builds the parser and calls what was chosen. The
top floor of ``bot``: it may import every other room, and only ``bot.__main__`` imports it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


class DiscordRefused(Exception):
    """Discord could not be reached or refused the bot; the message says why and what to do."""


def later(module: str, *, signals: bool = False) -> Callable[..., Any]:
    """Return a function that imports a module of this package and calls its ``run``.

    Args:
        module: The module, as ``lab.tune``.
        signals: Whether to handle signals from before the import on; see :mod:`bot.commands.early_signals`.
    """

    def run(*arguments: Any) -> Any:
        if signals:
            from bot.commands.early_signals import handle_early_signals

            handle_early_signals()
        return import_module(f"{__name__}.{module}").run(*arguments)

    return run
