"""The ``simpatico`` command's first lines: light, so that Ctrl+C works at once.

Everything heavy is imported by :mod:`bot.commands.main`, inside :func:`main`: the process that solves heads
imports this module at its start, and needs none of it.
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
