"""P15: bad input never stops the bot, and never makes a wrong label.

Hypothesis generates gateway events and interactions that discord.py's parsers accept and Discord would never
send: unknown, too large or negative ids; emoji that are empty, very long, half a character or full of control
characters; servers that do not match the channel; missing members; made-up buttons with numbers that no
database accepts. Real reactions of members come between them. Afterwards no error was raised or logged, the
bot still answers, and the stored reactions of each member are exactly their real ones.

Control: without the validation of ids and emoji on arrival, the same events break whole batches.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simcord.actors import _component_interaction

from bot.config import parse_settings
from bot.reactions import gateway
from tests.rig.outages import Twin, twin
from tests.rig.schedules import EMOJI, Act
from tests.rig.size import sized
from tests.rig.standing import reactions_of, stored_by

pytestmark = pytest.mark.promise("P15")

N_EVENTS = int(os.environ.get("FUZZ_EVENTS", sized(ci=400, full=100_000)))
AT_ONCE = 100 if N_EVENTS < 5000 else 200
"""Events per run of a bot. Hypothesis draws an example from a bounded buffer, which 500 events overrun; it
would discard each such example."""

numbers = st.one_of(
    st.integers(-(2**70), 2**70), st.integers(0, 2**64 - 1), st.sampled_from((0, 1, -1, 2**63))
)
texts = st.text(st.characters(), max_size=80) | st.sampled_from(
    ("", "\ud800", "\x00", "👍" * 70, "👍\u200b", "0")
)
emoji = st.fixed_dictionaries({"id": st.none() | numbers.map(str), "name": st.none() | texts})
strange = st.fixed_dictionaries(
    {
        "event": st.sampled_from(
            (
                "MESSAGE_REACTION_ADD",
                "MESSAGE_REACTION_REMOVE",
                "MESSAGE_REACTION_REMOVE_EMOJI",
                "MESSAGE_REACTION_REMOVE_ALL",
                "MESSAGE_DELETE",
                "MESSAGE_DELETE_BULK",
            )
        ),
        "message": numbers,
        "known": st.booleans(),
        "user": numbers,
        "channel": st.none() | numbers,
        "guild": st.none() | numbers,
        "emoji": emoji,
        "burst": st.booleans(),
        "type": st.integers(-1, 9),
    }
)
own_ids = st.one_of(
    st.builds("simpatico:rate:{}:{}".format, numbers.map(abs), st.integers(0, 9)),
    st.builds(
        "simpatico:privacy:{}:{}".format,
        st.sampled_from(("agree", "about", "keep", "stop", "forget", "nonsense")),
        numbers.map(abs),
    ),
)
presses = st.fixed_dictionaries({"custom_id": own_ids | texts.filter(bool)})
choices = st.fixed_dictionaries(
    {
        "custom_id": st.builds("simpatico:undo:{}".format, numbers.map(abs)),
        "values": st.lists(texts | st.integers(10**9, 2**70).map(str), max_size=2),
    }
)
real = st.fixed_dictionaries(
    {
        "real": st.booleans(),
        "who": st.integers(0, 1),
        "reply": st.integers(0, 2),
        "emoji": st.sampled_from(EMOJI),
        "burst": st.booleans(),
    }
)
schedules = st.lists(st.one_of(strange, strange, real, presses, choices), min_size=AT_ONCE, max_size=AT_ONCE)


def strange_payload(here: Twin, one: dict[str, Any], replies: list[int]) -> dict[str, Any]:
    """Make a payload that Discord would never send; about a known message only events of unknown users."""
    about_known = one["known"] and one["event"] in ("MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE")
    message = replies[one["type"] % len(replies)] if about_known else one["message"]
    payload = {
        "channel_id": str(here.channels[0].id if one["channel"] is None else one["channel"]),
        "message_id": str(message),
        "id": str(message),
        "ids": [str(message), str(one["user"])],
        "user_id": str(one["user"]),
        "emoji": one["emoji"],
        "burst": one["burst"],
        "type": one["type"],
    }
    return payload if one["guild"] is None else payload | {"guild_id": str(one["guild"])}


async def play(schedule: list[dict[str, Any]], records: list[logging.LogRecord]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        storage = {"data_dir": f"{folder}/data", "key_dir": f"{folder}/keys", "group_commit_ms": 1}
        async with twin(parse_settings({"storage": storage})) as here:
            for _ in range(3):
                await here.people[0].send(here.channels[0], f"<@{here.bot.me}> hello")
                here.api.truth.standing[here.channels[0].last_message.id] = set()
            replies = sorted(here.api.truth.standing)
            message = here.env.backend.messages[here.channels[0].id][replies[0]]
            for one in schedule:
                if "real" in one:
                    really_react(here, one, replies)
                elif "custom_id" in one:
                    item = item_of(one)
                    # The bot ignores a component that is not on the message.
                    message.components = [{"type": 1, "components": [item]}]
                    await _component_interaction(
                        here.people[1], message, one | {"component_type": item["type"]}
                    )
                else:
                    here._feed(one["event"], strange_payload(here, one, replies))
            await here.quiet()
            await here.env.settle()

            assert [record.getMessage() for record in records] == []
            for member in here.people[:2]:
                assert await stored_by(world_of(here), member) == reactions_of(here.api.truth, member.id)
            await here.people[0].send(here.channels[1], f"<@{here.bot.me}> still there?")
            assert here.channels[1].last_message.author.id == here.bot.me


def item_of(one: dict[str, Any]) -> dict[str, Any]:
    """Return the button or menu that is used."""
    if "values" in one:
        options = [{"label": "One", "value": "1"}]
        return {"type": 3, "custom_id": one["custom_id"], "options": options}
    return {"type": 2, "style": 1, "label": "Press", "custom_id": one["custom_id"]}


def really_react(here: Twin, one: dict[str, Any], replies: list[int]) -> None:
    user = here.people[one["who"]].id
    there = (user, one["emoji"], one["burst"]) in here.api.truth.standing[replies[one["reply"]]]
    act = Act("remove" if there else "add", replies[one["reply"]], user, one["emoji"], one["burst"])
    here.api.truth.play(act)
    here.happen(act)


class world_of:
    def __init__(self, here: Twin) -> None:
        self.house, self.guild, self.channel = here.house, here.guild, here.channels[0]


class Complaints(logging.Handler):
    """Log handler that keeps every error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def complaints():
    handler = Complaints()
    logging.getLogger().addHandler(handler)
    yield handler.records
    logging.getLogger().removeHandler(handler)


def fuzz(complaints: list[logging.LogRecord]) -> None:
    n_played = 0

    @settings(
        max_examples=N_EVENTS // AT_ONCE,
        deadline=None,
        derandomize=N_EVENTS < 5000,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(schedules)
    def run(schedule: list[dict[str, Any]]) -> None:
        nonlocal n_played
        complaints.clear()
        asyncio.run(play(schedule, complaints))
        n_played += len(schedule)

    run()
    print(f"\n{n_played:,} events played")
    assert n_played >= N_EVENTS


def test_strange_events_and_presses_stop_nothing_and_label_nothing(complaints):
    fuzz(complaints)


def test_control_without_the_check_at_the_door_strange_events_break_batches(complaints, monkeypatch):
    monkeypatch.setattr(gateway, "_is_sound", lambda _event: True)
    schedule = [
        {
            "event": "MESSAGE_REACTION_ADD",
            "message": 2**70,
            "known": False,
            "user": 1,
            "channel": None,
            "guild": None,
            "emoji": {"id": None, "name": "👍"},
            "burst": False,
            "type": 0,
        }
    ]

    with pytest.raises(AssertionError):
        asyncio.run(play(schedule, complaints))
