"""What reaches the log: class names, counts and times; never texts, names, ids or tokens.

Our own modules log no such thing to begin with. Libraries do: below WARNING they repeat whole messages,
statements and answers, above it addresses with ids and tokens, and an exception may quote anything. So all
records leave through one handler, whatever levels the loggers are set to: it drops what others say below
WARNING, takes ids and tokens out of the rest, and of an exception that is not ours it shows the class and the
lines of code, not the message.
"""

from __future__ import annotations

import logging
import re
import traceback
from types import TracebackType
from typing import TextIO

OURS = ("bot", "personalization", "storage")
TALKATIVE = ("discord", "aiosqlite", "sqlalchemy", "openai", "httpx", "apscheduler", "alembic")
"""Libraries that log message texts, tokens or SQL parameters at DEBUG and INFO."""

_SECRETS = re.compile(
    r"(?<=interactions/)\S+|(?<=webhooks/)\S+|(?<!\d)\d{15,20}(?!\d)|custom_id='[^']*'|(?<=exception=).*"
)
"""Interaction and webhook tokens in addresses, Discord ids, ids of buttons, exceptions asyncio quotes."""


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


class Redact(logging.Filter):
    """Drops what libraries say below WARNING, and takes Discord ids and tokens out of what is left."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; say whether it passes."""
        record.msg, record.args = _SECRETS.sub("…", record.getMessage()), None
        return _is_ours(record.name) or record.levelno >= logging.WARNING


class Discreet(logging.Formatter):
    """Shows of an exception its class and the lines of code, and the message only where it is our own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Format anew, also where another handler has already written the exception out."""
        record.exc_text = None
        try:
            return super().format(record)
        finally:
            record.exc_text = None

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Write an exception and its causes, the first cause first."""
        parts: list[str] = []
        exc, seen = ei[1], set[int]()
        while exc is not None and id(exc) not in seen:
            seen.add(id(exc))
            frames = "".join(traceback.format_tb(exc.__traceback__))
            parts.append(f"{frames}{_named(exc)}")
            exc = exc.__cause__ or exc.__context__
        return "\nwhich led to\n".join(reversed(parts))


def _named(exc: BaseException) -> str:
    kind = type(exc)
    name = f"{kind.__module__}.{kind.__qualname__}"
    return f"{name}: {_SECRETS.sub('…', str(exc))}" if _is_ours(kind.__module__) else name


def discreet_handler(stream: TextIO | None = None) -> logging.Handler:
    """The handler that everything leaves through; to standard error by default."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Discreet())
    handler.addFilter(Redact())
    return handler


def set_up_logging(*, verbose: bool) -> None:
    """Log to standard error: warnings, or with ``verbose`` everything of our own modules."""
    handler = discreet_handler()
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("discord.client").setLevel(
        logging.ERROR
    )  # warns of missing voice support at each start
    if verbose:
        for name in OURS:
            logging.getLogger(name).setLevel(logging.DEBUG)
