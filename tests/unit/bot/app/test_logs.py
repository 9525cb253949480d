"""No id and no token leaves through the log."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import threading
import warnings

import pytest

from bot.app.logs import Redact, discreet_handler, set_up_logging
from bot.generation import GeneratorError

PLACE = "(a message of http, line 1)"


def said_by(library: str, call: str, **values: object) -> str:
    """The output of the handler when a library's code, ``http.py``, makes this call of its logger."""
    out, logger = io.StringIO(), logging.getLogger(library)
    handler = discreet_handler(out)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    try:
        exec(compile(f"log.{call}", "/lib/http.py", "exec"), {"log": logger, **values})
    finally:
        logger.removeHandler(handler)
    return out.getvalue()


class Speaking(int):
    """A number that prints words."""

    def __str__(self) -> str:
        return "said"

    __repr__ = __str__


@pytest.mark.parametrize(
    ("call", "logged"),
    [
        ("warning('We are being rate limited. %s %s.', 'PUT', url)", "We are being rate limited. … …."),
        ("warning('POST ' + url)", PLACE),
        ("error(f'Exception in callback {said}')", PLACE),
        ("error(f'{said}: %d', 5)", PLACE),
        ("error('{}: %s'.format(said), 5)", PLACE),
        ("error(said + ' %s', said)", PLACE),
        ("error(error)", PLACE),
        ("error(error, 1)", PLACE),
        ("warning('%(what)s took %(seconds).1f s', {'what': said, 'seconds': 2.5})", "… took 2.5 s"),
        ("warning('%d of %s', said, said)", "%d of %s"),
        ("warning('%r for %d', said, 1456074443980800001)", "… for …"),
        ("warning('100 %', said)", "100 %"),
        ("warning('%s and %s', number, [said])", "… and …"),
        ("warning('a constant')", "a constant"),
        ("warning('round %d: %d members, %.1f s', 12, 3456, 7.5)", "round 12: 3456 members, 7.5 s"),
    ],
)
def test_of_a_library_only_constants_and_numbers_are_logged(call, logged):
    url = "https://discord.com/api/v10/webhooks/1456074443980800010/aW50ZXJhY3Rpb246abc.def"
    written = said_by(
        "anything", call, said="said by a member", url=url, error=ValueError("said"), number=Speaking(5)
    )

    assert written == f"{logged}\n"


def test_our_own_messages_show_no_text_of_an_exception_of_others():
    assert said_by("bot.x", "warning('failed: %s', error)", error=KeyError("said")) == (
        "failed: builtins.KeyError\n"
    )
    assert said_by("bot.x", "warning('failed: %s', error)", error=GeneratorError("slow")) == "failed: slow\n"
    assert said_by("bot.x", "warning('%d members', 'said')") == PLACE + "\n"


@pytest.fixture
def log_set_up(monkeypatch):
    """Set up logging as the program does, into a string."""
    out, root = io.StringIO(), logging.getLogger()
    level, handlers, root.handlers = root.level, root.handlers, []
    monkeypatch.setattr(sys, "stderr", out)
    set_up_logging(verbose=False)
    yield out
    root.handlers = handlers
    root.setLevel(level)


def test_a_library_with_its_own_handler_logs_no_words_either(log_set_up):
    own, logger = io.StringIO(), logging.getLogger("a.library.with.a.handler")
    handler = logging.StreamHandler(own)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    try:
        raise ValueError("said")
    except ValueError:
        logger.exception("generating %s", "said by a member")
    logger.info("said %s" % "it")  # noqa: UP031

    assert "said" not in own.getvalue().replace('raise ValueError("said")', "")
    assert own.getvalue().startswith("ERROR generating …\n")
    assert "builtins.ValueError" in own.getvalue()


def test_warnings_and_exceptions_that_nothing_catches_are_logged_without_words(log_set_up):
    def fail():
        raise ValueError("what a member said")

    class Failing:
        def __del__(self):
            fail()

    warnings.showwarning("what a member said", UserWarning, "/lib/nets.py", 7)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Failing()
    try:
        fail()
    except ValueError as exc:
        sys.excepthook(ValueError, exc, exc.__traceback__)

    written = log_set_up.getvalue().replace('raise ValueError("what a member said")', "")
    assert "WARNING bot.app.logs: UserWarning in nets.py, line 7\n" in written
    assert written.count("CRITICAL bot.app.logs: an exception was not caught") == 3
    assert written.count("builtins.ValueError") == 3
    assert "said" not in written


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("POST /webhooks/1456074443980800001/aW50ZXJhY3Rpb246abc.def failed", "POST /webhooks/… failed"),
        ("POST /interactions/1456074443980800001/secret/callback", "POST /interactions/…"),
        ("item custom_id='simpatico:privacy:agree:1456074443980800011'", "item …"),
    ],
)
def test_ids_and_tokens_are_taken_out_of_our_own_messages_too(said, shown):
    record = logging.LogRecord("bot.client", logging.WARNING, __file__, 1, "%s", (said,), None)

    assert Redact().filter(record) is True
    assert record.getMessage() == shown


async def test_asyncio_names_no_argument_of_a_callback_that_failed():
    out = io.StringIO()
    handler = discreet_handler(out)
    logging.getLogger("asyncio").addHandler(handler)
    try:
        asyncio.get_running_loop().call_soon(int, "what a member said")
        await asyncio.sleep(0.01)
    finally:
        logging.getLogger("asyncio").removeHandler(handler)

    assert "ERROR asyncio:" in out.getvalue()
    assert "ValueError" in out.getvalue()
    assert "member" not in out.getvalue()


def test_a_lost_connection_is_one_line():
    try:
        raise ConnectionResetError("to 10.1.2.3")
    except ConnectionResetError as exc:
        error = exc

    written = said_by(
        "discord.client", "error('Attempting a reconnect in %.2fs', 4.2, exc_info=error)", error=error
    )

    assert written == "Attempting a reconnect in 4.20s (builtins.ConnectionResetError)\n"


def logged(level: int, name: str, message: str, exc: BaseException | None = None) -> str:
    """The output of the handler."""
    out = io.StringIO()
    error = None if exc is None else (type(exc), exc, exc.__traceback__)
    discreet_handler(out).handle(logging.LogRecord(name, level, __file__, 1, message, (), error))
    return out.getvalue()


@pytest.mark.parametrize(
    ("level", "name", "passes"),
    [
        (logging.DEBUG, "discord.gateway", False),
        (logging.INFO, "sqlalchemy.engine.Engine", False),
        (logging.WARNING, "discord.http", True),
        (logging.DEBUG, "storage.store", True),
        (logging.DEBUG, "botany", False),
    ],
)
def test_what_libraries_say_below_warning_is_dropped_whatever_their_level(level, name, passes):
    assert bool(logged(level, name, "hello")) is passes


def test_an_exception_of_others_is_shown_without_its_message():
    try:
        try:
            raise ValueError("what a member said")
        except ValueError as exc:
            raise GeneratorError("expected a list, found a word") from exc
    except GeneratorError as exc:
        written = logged(logging.ERROR, "bot.messages.queues", "an answer failed", exc)

    assert "what a member said" not in written.replace('raise ValueError("what a member said")', "")
    assert "\nbuiltins.ValueError\nwhich led to\n" in written
    assert written.endswith("bot.generation.GeneratorError: expected a list, found a word\n")


def test_an_exception_that_another_handler_wrote_out_is_written_anew():
    record = logging.LogRecord(
        "bot", logging.ERROR, __file__, 1, "failed", (), (KeyError, KeyError("x"), None)
    )
    logging.Formatter().format(record)
    out = io.StringIO()

    discreet_handler(out).handle(record)

    assert out.getvalue().endswith("failed\nbuiltins.KeyError\n")
