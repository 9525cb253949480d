"""A burst is in the order in which its member wrote it, however its messages and their copies arrive."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import discord
import pytest

from bot.messages import bursts
from bot.messages.bursts import Burst

CHANNEL = SimpleNamespace(id=5)
BEGINNING = discord.utils.time_snowflake(discord.utils.utcnow())
WORDS = ("one", "two", "three", "four", "five")


def message(number: int, words: str, *, replies_to: int | None = None, webhook: bool = False) -> Any:
    """Return the part of a message that a burst reads."""
    sent = BEGINNING + (number << 22)
    reference = None
    if replies_to is not None:
        kind = discord.MessageReferenceType.reply
        reference = SimpleNamespace(message_id=replies_to, channel_id=CHANNEL.id, type=kind)
    return SimpleNamespace(
        id=sent,
        content=words,
        author=SimpleNamespace(id=7),
        guild=None,
        channel=CHANNEL,
        reference=reference,
        webhook_id=9 if webhook else None,
        interaction_metadata=None,
        created_at=discord.utils.snowflake_time(sent),
        attachments=[],
        embeds=[],
    )


def burst_of(arriving: Sequence[Any]) -> tuple[Burst, list[Any]]:
    """Return the burst that messages make as they arrive, and the messages that did not join."""
    burst = Burst(cast(discord.Message, arriving[0]))
    return burst, [one for one in arriving[1:] if not burst.join(one)]


def in_order_of_ids(arriving: Sequence[Any]) -> bool:
    burst, left = burst_of(arriving)
    expected = sorted(arriving, key=lambda one: one.id)
    return (
        not left
        and [*burst.messages] == expected
        and (burst.first, burst.last) == (expected[0], expected[-1])
    )


def test_a_burst_is_in_the_order_of_ids_in_whichever_order_its_messages_arrive():
    wrote = [message(number, words) for number, words in enumerate(WORDS)]

    assert all(in_order_of_ids(arriving) for arriving in itertools.permutations(wrote))


def test_control_a_burst_in_the_order_of_arrival_is_seen(monkeypatch):
    monkeypatch.setattr(bursts.bisect, "insort", lambda parts, part, key: parts.append(part))
    wrote = [message(number, words) for number, words in enumerate(WORDS[:2])]

    assert [in_order_of_ids(one) for one in (wrote, wrote[::-1])] == [True, False]


@pytest.mark.parametrize("parents", [*itertools.product((None, 1, 2), repeat=3)])
def test_no_burst_holds_messages_of_two_talks_in_any_order_of_arrival(parents):
    """Where all of them are one talk, they are one burst in any order."""
    wrote = [message(number, "words", replies_to=parent) for number, parent in enumerate(parents)]
    one_talk = all(after in (None, before) for before, after in itertools.pairwise(parents))

    for arriving in itertools.permutations(wrote):
        burst, left = burst_of(arriving)
        there = [parents[wrote.index(one)] for one in burst.messages]

        assert [*burst.messages] == sorted(burst.messages, key=lambda one: one.id)
        assert all(after in (None, before) for before, after in itertools.pairwise(there))
        assert not one_talk or len(there) == len(wrote)
        assert len(there) + len(left) == len(wrote)


@pytest.mark.parametrize(
    "words", [("hi there", "hi", "hi there you"), ("hi", "hi you", "and?"), ("a", "b", "c")]
)
@pytest.mark.parametrize("quote", ["", "> earlier words https://discord.com/channels/1/5/3\n"])
def test_copies_of_a_proxy_take_their_own_places_in_any_order(words, quote):
    for arriving, copying in itertools.product(itertools.permutations(range(3)), repeat=2):
        wrote = [message(number, text) for number, text in enumerate(words)]
        burst, _ = burst_of([wrote[number] for number in arriving])
        copies = {
            number: message(10 + place, quote + words[number], webhook=True)
            for place, number in enumerate(copying)
        }

        assert all(burst.copied(copies[number]) for number in copying)
        assert [one.content.removeprefix(quote) for one in burst.messages] == list(words)


def test_messages_that_are_deleted_leave_the_others_in_order():
    wrote = [message(number, words) for number, words in enumerate(WORDS[:4])]
    for arriving in itertools.permutations(wrote):
        burst, _ = burst_of(arriving[:3])
        burst.deleted(wrote[1].id)
        burst.join(cast(discord.Message, arriving[3]))

        kept = [one for one in arriving if one is not wrote[1] or one is arriving[3]]
        assert [*burst.messages] == sorted(kept, key=lambda one: one.id)
