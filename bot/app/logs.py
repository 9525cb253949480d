"""Log handler that lets class names, counts and times through; never texts, names, ids or tokens.

Our own modules log none of the latter. Libraries do: below WARNING they log whole messages, statements and
responses, above it URLs with ids and tokens, and asyncio quotes the arguments of a callback. So all records
go through one handler, at any log level. It drops library records below WARNING. Of the rest it shows the
constant part of the message, and numbers; a message without arguments may have been put together from
anything, so only its place in the code is shown. Of an exception that is not ours it shows the class and the
lines of code.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import TextIO

OURS = ("bot", "personalization", "storage")
TALKATIVE = ("discord", "aiosqlite", "sqlalchemy", "openai", "httpx", "apscheduler", "alembic")
"""Libraries that log message texts, tokens or SQL parameters at DEBUG and INFO."""

STATUS = "bot.status"
"""Logger of the few lines that are shown at the default level although nothing is wrong."""

_SECRETS = re.compile(r"(?<=interactions/)\S+|(?<=webhooks/)\S+|(?<!\d)\d{15,20}(?!\d)|custom_id='[^']*'")
"""Interaction and webhook tokens in URLs, Discord ids, ids of buttons."""
_RECONNECT = "Attempting a reconnect"


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


class Redact(logging.Filter):
    """Drops library records below WARNING, and redacts arguments, Discord ids and tokens in the rest."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place; return whether it passes."""
        said = record.getMessage() if _is_ours(record.name) else _constant_part(record)
        if said.startswith(_RECONNECT) and record.exc_info and record.exc_info[1] is not None:
            said += f" ({_named(record.exc_info[1])})"
            record.exc_info = None  # a lost connection is no fault of the code, so one line is enough
        record.msg, record.args = _SECRETS.sub("…", said), None
        return _is_ours(record.name) or record.levelno >= logging.WARNING


class _Withheld:
    """Placeholder for an argument that is not shown."""

    def __repr__(self) -> str:
        return "…"


def _constant_part(record: logging.LogRecord) -> str:
    """Return the message of a library without its arguments, except for numbers."""
    given = record.args
    if not given:
        return f"(a message of {record.module}, line {record.lineno})"
    try:
        if isinstance(given, Mapping):
            return str(record.msg) % {name: _number(value) for name, value in given.items()}
        return str(record.msg) % tuple(_number(value) for value in given)
    except (TypeError, ValueError, KeyError):
        return str(record.msg)


def _number(value: object) -> int | float | _Withheld:
    return value if isinstance(value, int | float) else _Withheld()


class Discreet(logging.Formatter):
    """Shows the class and the lines of code of an exception; its message only when the class is ours."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Format the record again, even when another handler cached the text of the exception."""
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
    """Return the handler for all records; writes to standard error by default."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Discreet())
    handler.addFilter(Redact())
    return handler


def set_up_logging(*, verbose: bool) -> None:
    """Log to standard error: warnings, and with ``verbose`` all records of our own modules."""
    handler = discreet_handler()
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("discord.client").setLevel(
        logging.ERROR
    )  # warns of missing voice support at each start
    logging.getLogger(STATUS).setLevel(logging.INFO)
    if verbose:
        for name in OURS:
            logging.getLogger(name).setLevel(logging.DEBUG)
