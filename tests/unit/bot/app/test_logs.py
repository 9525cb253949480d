"""No id and no token leaves through the log."""

from __future__ import annotations

import asyncio
import io
import logging

import pytest

from bot.app.logs import Redact, discreet_handler
from bot.generation import GeneratorError

PLACE = "(a message of test_logs, line 1)"


@pytest.mark.parametrize(
    ("message", "args", "logged"),
    [
        (
            "We are being rate limited. %s %s responded with 429.",
            (
                "PUT",
                "https://discord.com/api/v10/channels/1456074443980800010/messages/1456074443980800019/x",
            ),
            "We are being rate limited. … … responded with 429.",
        ),
        ("POST /webhooks/1456074443980800001/aW50ZXJhY3Rpb246abc.def failed", (), PLACE),
        ("Exception in callback answer('what a member said')\nhandle: <Handle ...>", (), PLACE),
        ("<Task name='t' exception=ValueError('said')>", (), PLACE),
        ("%(what)s took %(seconds).1f s", ({"what": "said", "seconds": 2.5},), "… took 2.5 s"),
        ("%d of %s", ("said", "said"), "%d of %s"),
        ("%r for %d", ("said", 1456074443980800001), "… for …"),
        ("100 %", ("said",), "100 %"),
        ("round %d: %d members, %.1f s", (12, 3456, 7.5), "round 12: 3456 members, 7.5 s"),
    ],
)
def test_ids_and_tokens_are_taken_out(message, args, logged):
    record = logging.LogRecord("discord.http", logging.WARNING, __file__, 1, message, args, None)

    assert Redact().filter(record) is True
    assert record.getMessage() == logged


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
        error = (type(exc), exc, exc.__traceback__)
    record = logging.LogRecord(
        "discord.client", logging.ERROR, __file__, 1, "Attempting a reconnect in %.2fs", (4.2,), error
    )
    out = io.StringIO()
    discreet_handler(out).handle(record)

    assert out.getvalue().count("\n") == 1
    assert out.getvalue().endswith("Attempting a reconnect in 4.20s (builtins.ConnectionResetError)\n")


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
