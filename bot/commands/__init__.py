"""The ``simpatico`` command line, one file per sub-command.

Every sub-command offers ``add_parser(commands)``, which declares its arguments and sets ``run`` (or
``run_unconfigured``) on them, and ``run(arguments, settings)``, which does the work. Those that need numpy,
torch or discord are declared in :mod:`bot.commands.declared` instead. :mod:`bot.commands.main`
builds the parser and calls what was set. The top floor of ``bot``: it may import every other room, and only
``bot.__main__`` imports it.
"""

from __future__ import annotations


class DiscordRefused(Exception):
    """Discord could not be reached or refused the bot; the message says why and what to do."""
