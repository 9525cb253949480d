"""Entry point of the ``simpatico`` command. It imports nothing heavy, so that Ctrl+C works at once.

:func:`main` imports :mod:`bot.commands.main`, which imports everything else. The process that solves heads
also imports this module when it starts, and needs none of that.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        from bot.commands.main import run

        return run(argv)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
