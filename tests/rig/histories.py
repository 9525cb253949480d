"""Histories: what members and the bot do, in order of time, as data; and changes of a history.

:mod:`tests.rig.counterfactual` runs them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from storage.records import Picked, Who

WORDS = "tea rain chess jazz bread maps lakes honey films dogs cats books stars trains snow".split()


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of the events; ``at`` is in seconds since the start."""

    at: int


@dataclass(frozen=True, kw_only=True)
class Agreed(Event):
    """A member consents to learning."""

    who: Who


@dataclass(frozen=True, kw_only=True)
class Asked(Event):
    """A member writes a prompt and gets ``reply`` in message ``message_id``."""

    who: Who
    said: str
    reply: str
    message_id: int
    channel_id: int = 5


@dataclass(frozen=True, kw_only=True)
class Reacted(Event):
    """A member adds or removes a reaction."""

    who: Who
    message_id: int
    emoji: str
    added: bool = True


@dataclass(frozen=True, kw_only=True)
class Rated(Event):
    """A member rates a reply from 1 to 5."""

    who: Who
    message_id: int
    rating: int


@dataclass(frozen=True, kw_only=True)
class AskedAgain(Event):
    """A member requests another answer to replace message ``first``, and gets ``reply``."""

    who: Who
    said: str
    first: int
    reply: str
    message_id: int
    channel_id: int = 5


@dataclass(frozen=True, kw_only=True)
class Compared(Event):
    """A member picks one of two candidates shown side by side."""

    who: Who
    texts: tuple[str, str]
    picked: Picked


@dataclass(frozen=True, kw_only=True)
class Tapped(Event):
    """A member answers the first of the six taps."""

    who: Who
    picked: Picked


@dataclass(frozen=True, kw_only=True)
class Wished(Event):
    """A member sets a wish with ``/style``."""

    who: Who
    said: str


@dataclass(frozen=True, kw_only=True)
class Forgot(Event):
    """A member uses ``/forget-me``."""

    who: Who


@dataclass(frozen=True, kw_only=True)
class Learnt(Event):
    """The trainer rebuilds the prior and runs a round."""


def random_history(rng: random.Random, people: Sequence[Who], n_asked: int) -> list[Event]:
    """Draw a history: members agree, ask, react to their own and others' replies, remove reactions, and rate.

    Every second member likes short replies, the others long ones, so that heads differ. Replies never depend
    on the prompts.
    """
    history: list[Event] = [Agreed(at=number, who=who) for number, who in enumerate(people)]
    for number in range(n_asked):
        at, message_id = 1000 + 100 * number, 10_000 + number
        asker = rng.choice(people)
        said = f"what about {rng.choice(WORDS)} and {rng.choice(WORDS)}"
        reply = " ".join(rng.choices(WORDS, k=rng.choice((2, 12)))) + rng.choice("!?.")
        history.append(Asked(at=at, who=asker, said=said, reply=reply, message_id=message_id))
        fellows = [who for who in people if who.guild_id == asker.guild_id]
        for later, who in enumerate(sorted({asker, *rng.choices(fellows, k=2)}, key=people.index)):
            likes = (len(reply) < 30) == (people.index(who) % 2 == 0)
            mark = "👍" if likes else "👎"
            history.append(Reacted(at=at + 1 + later, who=who, message_id=message_id, emoji=mark))
            if rng.random() < 0.1:
                history.append(
                    Reacted(at=at + 10 + later, who=who, message_id=message_id, emoji=mark, added=False)
                )
            if rng.random() < 0.2:
                history.append(
                    Rated(at=at + 20 + later, who=who, message_id=message_id, rating=4 if likes else 2)
                )
        if number % 15 == 14:
            history.append(Learnt(at=at + 50))
    return sorted(history, key=lambda event: event.at)


def with_choices(history: Iterable[Event], rng: random.Random, share: float = 0.4) -> list[Event]:
    """Add to a share of the prompts a comparison, a tap, another answer, and a like of that answer."""
    told: list[Event] = []
    for event in history:
        told.append(event)
        if not isinstance(event, Asked) or rng.random() > share:
            continue
        who, reply = event.who, " ".join(rng.choices(WORDS, k=rng.choice((3, 10)))) + "!"
        texts = (event.reply, reply)
        picked = rng.choice((Picked.FIRST, Picked.SECOND, Picked.EQUAL))
        told.append(Compared(at=event.at + 30, who=who, texts=texts, picked=picked))
        told.append(Tapped(at=event.at + 30, who=who, picked=picked))
        again = event.message_id + 50_000
        told.append(
            AskedAgain(
                at=event.at + 31,
                who=who,
                said=event.said,
                first=event.message_id,
                reply=reply,
                message_id=again,
            )
        )
        told.append(Reacted(at=event.at + 32, who=who, message_id=again, emoji="👍"))
    return sorted(told, key=lambda event: event.at)


def without(history: Iterable[Event], who: Who) -> list[Event]:
    """Remove a member from a history: their events, and all events on replies to them."""
    asked = (Asked, AskedAgain)
    theirs = {event.message_id for event in history if isinstance(event, asked) and event.who == who}
    return [
        event
        for event in history
        if getattr(event, "who", None) != who and getattr(event, "message_id", None) not in theirs
    ]


def reworded(history: Iterable[Event], rng: random.Random) -> list[Event]:
    """Replace every text that members wrote by random words; replies and reactions stay."""
    return [
        replace(event, said=" ".join(f"{rng.getrandbits(64):x}" for _ in range(rng.randrange(1, 30))))
        if isinstance(event, (Asked, AskedAgain, Wished))
        else event
        for event in history
    ]
