"""Captures the records of every logger, regardless of the levels that the program has set."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def everything_to(handler: logging.Handler) -> Iterator[None]:
    """Within the block, set every existing logger to DEBUG and send all records to the handler."""
    root = logging.getLogger()
    loggers = [logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    before = {logger: (logger.level, logger.propagate, logger.disabled) for logger in [root, *loggers]}
    for logger in before:
        logger.setLevel(logging.DEBUG)
        logger.propagate, logger.disabled = True, False
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, (level, propagate, disabled) in before.items():
            logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, disabled


def raw_handler(stream: io.StringIO) -> logging.Handler:
    """Return an ordinary handler, without the bot's filters."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    return handler
