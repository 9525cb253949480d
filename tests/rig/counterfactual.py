"""Counterfactual runs: play a history twice, with one change, and compare hashes of the results.

A history (:mod:`tests.rig.histories`) runs through the real store, responder, ranker and trainer; only
Discord is missing. The encoder is the hash encoder, only the history moves the clock, and both runs share
their keys, so two runs of the same history leave the same bytes. Change one thing (``without``, ``reworded``)
and compare the two :class:`Outcome` objects: every difference depends on that change.

    keys = made_keys(tmp_path / "keys")
    seen = await outcome_of(history, tmp_path / "seen", keys)
    unseen = await outcome_of(without(history, member), tmp_path / "unseen", keys)
"""

from __future__ import annotations

import hashlib
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
from bot.replies.six_taps.asking import SixTaps
from bot.replies.style_wishes import with_words
from storage.clock import utcnow
from storage.database import schema
from storage.errors import SealBroken
from storage.members.wishes import NO_WISH
from storage.records import Consent, Pick, Place, Who
from storage.store import Store
from tests.fakes import FixedClock, HashEncoder, ScriptedGenerator
from tests.rig.histories import (
    Agreed,
    Asked,
    AskedAgain,
    Compared,
    Event,
    Forgot,
    Learnt,
    Rated,
    Reacted,
    Tapped,
    Wished,
)
from tests.unit.storage.given import settings_in

T = TypeVar("T")

PROBES = ("Yes!", "Well, that depends on many things. Shall I tell you about them?", "Look: `code`.", "no")
"""Candidates that are ranked for every member at the end."""


@dataclass(frozen=True)
class Outcome:
    """Hashes of the state after a history; equal outcomes mean bit-identical state.

    Attributes:
        heads: Member -> SHA-256 of the stored head, for members who have one.
        answers: Member -> SHA-256 of the scores that the ranker in memory gives :data:`PROBES`.
        prior: SHA-256 of the stored prior; None if there is no learnt prior.
        counters: Number of rows of each table, number of members behind the prior, and the counts that
            ``/privacy`` shows to each member.
    """

    heads: dict[Who, str]
    answers: dict[Who, str]
    prior: str | None
    counters: dict[str, int] = field(default_factory=dict[str, int])


def made_keys(folder: Path) -> Path:
    """Make the folder of keys that several runs share, so that pseudonyms and all sort orders agree."""
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
    """Run a history in a fresh folder, rebuild the prior, run a round, and hash the resulting state.

    Args:
        history: Events in the order of ``at``.
        folder: Folder for the data and a copy of the keys; not deleted, so that a test can read the files.
        keys: From :func:`made_keys`.
        settings: Replaces :func:`small_settings`.
        then: Called with the house before it closes; awaited if it returns an awaitable.
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
        return await outcome_in(house, _in_order(people))


async def left_in(folder: Path, people: Iterable[Who], *, asked: int = 1) -> Outcome:
    """Hash the state that a run left in its folder, without learning anything; the run may have been killed.

    Args:
        folder: As given to :func:`outcome_of`.
        people: Members whose heads are hashed.
        asked: How many rankings each member requests.
    """
    people = _in_order(people)
    async with _house_in(folder, small_settings()) as house:
        for who in people * (asked - 1):
            await _answer(house, who)
        return await outcome_in(house, people)


def small_settings() -> Settings:
    """Settings with the greedy policy and a prior that needs only 5 members."""
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
    """Open a house in which equal histories leave equal bytes; it trains in a thread."""
    settings = replace(settings, storage=settings_in(folder, group_commit_ms=0))
    with ThreadPoolExecutor(1) as executor:
        parts = {"encoder": HashEncoder(16), "generator": ScriptedGenerator(), "trainer_executor": executor}
        async with open_house(settings, seed=0, now=now, **parts) as house:
            yield house


def _in_order(people: Iterable[Who]) -> list[Who]:
    return sorted(people, key=lambda who: (who.guild_id, who.user_id))


def _prompt(event: Asked | AskedAgain) -> Prompt:
    """Return the prompt of a message in a channel, which shows what was posted in that channel."""
    return Prompt(event.who, Context(event.said), may_show=lambda channel_id: channel_id == event.channel_id)


async def _apply(house: House, event: Event) -> None:
    store, responder = house.store, house.parts.responder
    match event:
        case Agreed():
            await store.consent.record(event.who)
        case Asked():
            house.generator.enqueue(event.reply)
            decision = await responder.decide(_prompt(event))
            await responder.recorder.record(event.who, Place(event.channel_id, (event.message_id,)), decision)
        case AskedAgain():
            house.generator.enqueue(event.reply)
            decision = await responder.decide_another(_prompt(event), event.first, "the answer before")
            place = Place(event.channel_id, (event.message_id,))
            await responder.recorder.record_another(event.who, place, decision, event.first)
        case Compared():
            shown = await house.ranker.contrast(store.member_id(event.who), event.texts)
            first, second = map(shown.bytes_of, (0, 1))
            await store.preferences.record_pick(
                event.who, Pick(event.picked, shown.feature_id, first, second)
            )
        case Tapped():
            taps = SixTaps(store, house.ranker, house.parts.taste)
            since = await taps.begin()
            pair = await taps.next_pair(event.who, "en", [])
            assert pair is not None
            await taps.record(event.who, "en", pair, event.picked, since=since)
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
            raise TypeError(f"expected an event of tests.rig.histories, found a {type(event).__name__}")


async def _learn(house: House) -> None:
    await house.trainer.rebuild_prior()
    await house.trainer.run_round()


async def rows_in(store: Store, tables: Iterable[Table]) -> dict[str, int]:
    """Count the rows of each table."""
    return await store._reader.run(
        lambda connection: {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables
        }
    )


async def outcome_in(house: House, people: Iterable[Who]) -> Outcome:
    """Hash the state that a house holds, for these members in this order, without learning anything."""
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
    """Await a read; None if the seal is broken."""
    try:
        return await reading
    except SealBroken:
        return None


async def _answer(house: House, who: Who) -> str:
    store = house.store
    ranking = await house.ranker.rank(store.member_id(who), "", PROBES, guild=store.guild_id(who))
    return _hash(np.array(ranking.scores).tobytes())  # equal scores come in a random order


def _hash(body: bytes, *more: object) -> str:
    return hashlib.sha256(body + repr(more).encode()).hexdigest()
