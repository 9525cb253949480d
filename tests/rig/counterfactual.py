"""What would have been: a history of events run with and without something, and what is left, hashed.

A history runs through the real parts (store, responder, ranker, trainer, only Discord is missing), with the
hash encoder, a clock that only the history moves, and given keys, so that two runs of the same history leave
the same bytes. Then change one thing (:func:`without`, :func:`reworded`) and compare the two
:class:`Outcome` objects: whatever differs depends on that thing.

    keys = made_keys(tmp_path / "keys")
    seen = await outcome_of(history, tmp_path / "seen", keys)
    unseen = await outcome_of(without(history, member), tmp_path / "unseen", keys)
"""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Table, func, select

from bot.app.composition import House, open_house
from bot.config import Settings, parse_settings
from bot.generation import Context
from bot.replies.decision import Prompt
from bot.replies.style_wishes import with_words
from storage.database import schema
from storage.errors import SealBroken
from storage.members.wishes import NO_WISH
from storage.records import Consent, Pick, Picked, Place, Who
from storage.store import Store, utcnow
from tests.fakes import FixedClock, HashEncoder, ScriptedGenerator
from tests.unit.storage.given import settings_in

T = TypeVar("T")

PROBES = ("Yes!", "Well, that depends on many things. Shall I tell you about them?", "Look: `code`.", "no")
"""Candidates that every member ranks in the end."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happens ``at`` so many seconds after the start."""

    at: int


@dataclass(frozen=True, kw_only=True)
class Agreed(Event):
    """A member agrees to being learnt from."""

    who: Who


@dataclass(frozen=True, kw_only=True)
class Asked(Event):
    """A member says something and gets a reply, in this message."""

    who: Who
    said: str
    reply: str
    message_id: int
    channel_id: int = 5


@dataclass(frozen=True, kw_only=True)
class Reacted(Event):
    """A member reacts, or takes a reaction back."""

    who: Who
    message_id: int
    emoji: str
    added: bool = True


@dataclass(frozen=True, kw_only=True)
class Rated(Event):
    """A member rates a reply, 1 to 5."""

    who: Who
    message_id: int
    rating: int


@dataclass(frozen=True, kw_only=True)
class AskedAgain(Event):
    """A member asks for another answer in place of the one in message ``first``, and gets this one."""

    who: Who
    said: str
    first: int
    reply: str
    message_id: int
    channel_id: int = 5


@dataclass(frozen=True, kw_only=True)
class Compared(Event):
    """A member chooses between two candidates that they are shown side by side."""

    who: Who
    texts: tuple[str, str]
    picked: Picked


@dataclass(frozen=True, kw_only=True)
class Wished(Event):
    """A member says with ``/style`` how they would like to be answered."""

    who: Who
    said: str


@dataclass(frozen=True, kw_only=True)
class Forgot(Event):
    """A member uses ``/forget-me``."""

    who: Who


@dataclass(frozen=True, kw_only=True)
class Learnt(Event):
    """A new prior, then a round."""


@dataclass(frozen=True)
class Outcome:
    """What a history leaves; equal outcomes are equal to the last bit.

    Attributes:
        heads: Member -> SHA-256 of the stored head, of those who have one.
        answers: Member -> SHA-256 of the scores that the ranker in memory gives :data:`PROBES`.
        prior: SHA-256 of the stored prior; None: nobody taught one.
        counters: How many rows each table has, how many members taught the prior, and what ``/privacy``
            counts of each member.
    """

    heads: dict[Who, str]
    answers: dict[Who, str]
    prior: str | None
    counters: dict[str, int] = field(default_factory=dict[str, int])


def made_keys(folder: Path) -> Path:
    """Keys to run several histories under, so that pseudonyms and with them all orders are the same."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def outcome_of(
    history: Sequence[Event],
    folder: Path,
    keys: Path,
    *,
    settings: Settings | None = None,
    then: Callable[[House], Any] | None = None,
) -> Outcome:
    """Run a history in a fresh folder and hash what it leaves, after a last prior and round.

    Args:
        history: In the order of ``at``.
        folder: Where data and a copy of the keys go; stays for a look at the files.
        keys: From :func:`made_keys`.
        settings: In place of :func:`small_settings`.
        then: Called with the open house before it is closed; awaited when it returns an awaitable.
    """
    if not (keys / "keys").exists():
        async with await Store.open(settings_in(keys)):
            pass
    shutil.copytree(keys / "keys", folder / "keys")
    clock = FixedClock()
    start = clock.now
    async with _house_in(folder, settings or small_settings(), now=clock) as house:
        for event in history:
            clock.now = start
            clock.advance(seconds=event.at)
            await _apply(house, event)
        await _learn(house)
        if then is not None and (more := then(house)) is not None:
            await more
        people = {event.who for event in history if isinstance(event, Agreed)}
        return await _outcome(house, _in_order(people))


async def left_in(folder: Path, people: Iterable[Who], *, asked: int = 1) -> Outcome:
    """What a run left in its folder, also one that was killed; nothing is learnt.

    Args:
        folder: As given to :func:`outcome_of`.
        people: Whose heads.
        asked: How often each of them asks for a ranking.
    """
    people = _in_order(people)
    async with _house_in(folder, small_settings()) as house:
        for who in people * (asked - 1):
            await _answer(house, who)
        return await _outcome(house, people)


def small_settings() -> Settings:
    """Greedy, and a prior that few members teach."""
    return parse_settings(
        {
            "personalization": {
                "policy": "greedy",
                "prior_min_members": 5,
                "prior_min_days": 0,
                "device": "cpu",
            }
        }
    )


@asynccontextmanager
async def _house_in(
    folder: Path, settings: Settings, *, now: Callable[[], datetime] = utcnow
) -> AsyncIterator[House]:
    """Open a house in a folder in which equal histories leave equal bytes; a thread trains."""
    settings = replace(settings, storage=settings_in(folder, group_commit_ms=0))
    with ThreadPoolExecutor(1) as executor:
        parts = {"encoder": HashEncoder(16), "generator": ScriptedGenerator(), "trainer_executor": executor}
        async with open_house(settings, seed=0, now=now, **parts) as house:
            yield house


def _in_order(people: Iterable[Who]) -> list[Who]:
    return sorted(people, key=lambda who: (who.guild_id, who.user_id))


async def _apply(house: House, event: Event) -> None:
    store, responder = house.store, house.parts.responder
    match event:
        case Agreed():
            await store.consent.record(event.who)
        case Asked():
            house.generator.enqueue(event.reply)
            decision = await responder.decide(Prompt(event.who, Context(event.said)))
            await responder.recorder.record(event.who, Place(event.channel_id, (event.message_id,)), decision)
        case AskedAgain():
            house.generator.enqueue(event.reply)
            decision = await responder.decide_another(
                Prompt(event.who, Context(event.said)), event.first, "the answer before"
            )
            place = Place(event.channel_id, (event.message_id,))
            await responder.recorder.record_another(event.who, place, decision, event.first)
        case Compared():
            shown = await house.ranker.contrast(store.member_id(event.who), event.texts)
            first, second = map(shown.bytes_of, (0, 1))
            await store.preferences.record_pick(
                event.who, Pick(event.picked, shown.feature_id, first, second)
            )
        case Reacted():
            await store.feedback.record_reaction(event.who, event.message_id, event.emoji, added=event.added)
        case Rated():
            reply_id = await store.replies.of_message(event.message_id)
            if reply_id is not None:
                await store.feedback.record_rating(event.who, reply_id, event.rating)
        case Wished():
            await responder.wishes.put(event.who, with_words(NO_WISH, event.said), Consent.AGREED)
        case Forgot():
            receipt = await store.privacy.forget(event.who.user_id)
            house.parts.memory.forget_person(event.who.user_id, receipt.member_ids)
        case Learnt():
            await _learn(house)
        case _:
            raise TypeError(f"expected an event of this module, found a {type(event).__name__}")


async def _learn(house: House) -> None:
    await house.trainer.rebuild_prior()
    await house.trainer.run_round()


async def rows_in(store: Store, tables: Iterable[Table]) -> dict[str, int]:
    """How many rows each of these tables has."""
    return await store._reader.run(
        lambda connection: {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables
        }
    )


async def _outcome(house: House, people: Iterable[Who]) -> Outcome:
    store = house.store
    left = [who for who in people if await store.consent.of(who) is Consent.AGREED]
    records = {who: await _sound(store.learning.head_of(store.member_id(who))) for who in left}
    prior = await _sound(store.learning.prior())
    tables = (
        schema.members,
        schema.replies,
        schema.messages,
        schema.feedback,
        schema.preferences,
        schema.heads,
    )
    counters = await rows_in(store, tables)
    counters["members behind the prior"] = 0 if prior is None else prior.n_members
    for place, who in enumerate(left):
        summary = await store.privacy.summary(who)
        counters[f"replies to {place}"] = summary.n_replies
        counters[f"feedback of {place}"] = summary.n_feedback
        counters[f"labels of {place}"] = summary.head_labels
    return Outcome(
        heads={who: _hash(record.body, record.rolled_back) for who, record in records.items() if record},
        answers={who: await _answer(house, who) for who in left},
        prior=None if prior is None else _hash(prior.body),
        counters=counters,
    )


async def _sound(reading: Awaitable[T]) -> T | None:
    """What is read, or None where its checksum does not hold."""
    try:
        return await reading
    except SealBroken:
        return None


async def _answer(house: House, who: Who) -> str:
    store = house.store
    ranking = await house.ranker.rank(store.member_id(who), "", PROBES, guild=store.guild_id(who))
    return _hash(np.array(ranking.scores).tobytes(), ranking.order)


def _hash(body: bytes, *more: object) -> str:
    return hashlib.sha256(body + repr(more).encode()).hexdigest()


# --- histories -------------------------------------------------------------------------------------------

WORDS = "tea rain chess jazz bread maps lakes honey films dogs cats books stars trains snow".split()


def random_history(rng: random.Random, people: Sequence[Who], n_asked: int) -> list[Event]:
    """People who agree, ask, and react to replies to them and to others; taken back and rated now and then.

    Every member likes replies with a mark of their own, so that heads differ. Replies never depend on what
    was said.
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
    """The history in which people also ask for other answers, like them, and compare answers side by side."""
    told: list[Event] = []
    for event in history:
        told.append(event)
        if not isinstance(event, Asked) or rng.random() > share:
            continue
        who, reply = event.who, " ".join(rng.choices(WORDS, k=rng.choice((3, 10)))) + "!"
        texts = (event.reply, reply)
        picked = rng.choice((Picked.FIRST, Picked.SECOND, Picked.EQUAL))
        told.append(Compared(at=event.at + 30, who=who, texts=texts, picked=picked))
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
    """The history in which this member never was: none of their events, and nothing on replies to them."""
    asked = (Asked, AskedAgain)
    theirs = {event.message_id for event in history if isinstance(event, asked) and event.who == who}
    return [
        event
        for event in history
        if getattr(event, "who", None) != who and getattr(event, "message_id", None) not in theirs
    ]


def reworded(history: Iterable[Event], rng: random.Random) -> list[Event]:
    """The same history in which everybody said something else; replies and reactions are the same."""
    return [
        replace(event, said=" ".join(f"{rng.getrandbits(64):x}" for _ in range(rng.randrange(1, 30))))
        if isinstance(event, (Asked, AskedAgain, Wished))
        else event
        for event in history
    ]
