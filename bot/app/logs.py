"""Log records that hold class names, counts and times; never texts, names, ids or tokens.

Our own modules log none of the latter. Libraries do: below WARNING they log whole messages, statements and
responses, above it URLs with ids and tokens, and asyncio quotes the arguments of a callback. Some bring their
own handlers. So each record is redacted when it is made, at any level and for every handler. Of a library's
record, the message is kept where it is a constant of the code that logs it, with numbers filled in; else only
its place in the code is kept. Of an exception that is not ours, the class and the lines of code are kept.
Warnings and exceptions that nothing catches become records, too. The program's own handler also drops
library records below WARNING.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

log = logging.getLogger(__name__)

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


def redact(record: logging.LogRecord) -> None:
    """Redact a record in place: its message, its arguments and its exception."""
    said = _own_message(record) if _is_ours(record.name) else _library_message(record)
    exc = record.exc_info[1] if record.exc_info else None
    record.exc_text = None  # another handler may have cached the text
    if exc is not None and said.startswith(_RECONNECT):
        said += f" ({_named(exc)})"  # a lost connection is no fault of the code, so one line is enough
    elif exc is not None:
        record.exc_text = _written_out(exc)
    record.msg, record.args, record.exc_info = _SECRETS.sub("…", said), None, None


class Redact(logging.Filter):
    """Redacts records, and drops those of libraries below WARNING."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place; return whether it passes."""
        if not isinstance(record, _RedactedRecord):
            redact(record)
        return _is_ours(record.name) or record.levelno >= logging.WARNING


class _RedactedRecord(logging.LogRecord):
    """A record that is redacted before any handler sees it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        redact(self)


class _Withheld:
    """Placeholder for an argument that is not shown."""

    def __repr__(self) -> str:
        return "…"


def _own_message(record: logging.LogRecord) -> str:
    """Return one of our messages; of an exception that is not ours it shows the class."""
    try:
        if isinstance(record.args, tuple):
            record.args = tuple(_named_unless_ours(value) for value in record.args)
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # the arguments do not fit: the caller goes on
        return _place_of(record)


def _named_unless_ours(value: object) -> object:
    if isinstance(value, BaseException) and not _is_ours(type(value).__module__):
        return _named(value)
    return value


def _library_message(record: logging.LogRecord) -> str:
    """Return the constant message of a library with its numbers, or else its place in the code."""
    if not _is_constant(record):
        return _place_of(record)
    message, given = str(record.msg), record.args
    try:
        if isinstance(given, Mapping):
            return message % {name: _number(value) for name, value in given.items()}
        return message % tuple(_number(value) for value in given) if given else message
    except (TypeError, ValueError, KeyError):
        return message


def _is_constant(record: logging.LogRecord) -> bool:
    """Return whether the message is a constant of the function that logs it, so holds no values."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_lineno == record.lineno and frame.f_code.co_filename == record.pathname:
            return any(type(one) is type(record.msg) and one == record.msg for one in frame.f_code.co_consts)
        frame = frame.f_back
    return False


def _place_of(record: logging.LogRecord) -> str:
    return f"(a message of {record.module}, line {record.lineno})"


def _number(value: object) -> object:
    """Return a number as it is and anything else withheld; a subclass of a number may print anything."""
    return value if type(value) in (int, float, bool) else _Withheld()


def _written_out(exc: BaseException | None) -> str:
    """Return the classes and lines of code of an exception and its causes, the first cause first."""
    parts: list[str] = []
    seen = set[int]()
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
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(Redact())
    return handler


def set_up_logging(*, verbose: bool) -> None:
    """Log to standard error: warnings, and with ``verbose`` all records of our own modules.

    From now on all records are redacted when they are made, and Python's own reports become records.
    """
    handler = discreet_handler()
    logging.setLogRecordFactory(_RedactedRecord)
    _log_what_python_prints()
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


def _log_what_python_prints() -> None:
    """Log warnings and exceptions that nothing catches, which Python would print with their texts."""
    warnings.showwarning = _log_warning
    sys.excepthook = _log_exception
    threading.excepthook = lambda found: _log_exception(found.exc_type, found.exc_value, found.exc_traceback)
    sys.unraisablehook = lambda found: _log_exception(found.exc_type, found.exc_value, found.exc_traceback)


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
) -> None:
    log.warning("%s in %s, line %d", category.__name__, Path(filename).name, lineno)


def _log_exception(kind: type[BaseException], exc: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, exc or kind(), trace)
    elif not issubclass(kind, SystemExit):
        log.critical("an exception was not caught", exc_info=(kind, exc or kind(), trace))
