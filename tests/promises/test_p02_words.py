"""P2: no word that a member wrote reaches a trained weight, a kind of candidate or another prompt.

A history of members who wish, ask, react, rate, compare, tap and request other answers runs twice through the
real responder, store, ranker and trainer: once unchanged, once with every word of a member replaced. Replies
and reactions are the same. Every head, every answer of the ranker and the prior must be identical to the last
bit, and so must the stored data of every choice between two replies. (A member's words also decide which
candidate fits best; one candidate per prompt excludes that effect.) The kinds of candidates that are dealt,
and the shares with which they are dealt, must be the same too.

The prompts are compared as well: what taste offers to the writer (learnt wishes, liked replies as examples)
is the same, so two prompts differ in the conversation alone. There is one exception: a reply that repeats
words of the conversation is no example. It is tried with words that overlap: the same history, in which the
member writes the words of each reply, loses its examples and nothing else.

Controls: replies that may repeat words; the exception is then gone. Wishes that depend on the examples; more
than the examples then differs. Examples that hold the member's words; the prompts then differ. Features that
include the message, as in a ranker of message-reply pairs; the heads then differ. Shares that depend on the
message; what is dealt then differs.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from bot.replies import responder
from bot.replies.offers import Offers, OffersBook, offered_in
from bot.replies.responder import Responder
from personalization.encoding.features import Encoded, FeatureMap
from personalization.ranking.style_portfolio import StylePortfolio
from storage.database import change_numbers
from storage.records import Who
from tests.rig.counterfactual import made_keys, outcome_of
from tests.rig.histories import (
    Agreed,
    Asked,
    Event,
    Learnt,
    Reacted,
    Wished,
    random_history,
    reworded,
    with_choices,
)
from tests.rig.size import sized

pytestmark = pytest.mark.promise("P2")

PEOPLE = [Who(guild, 100 + person) for guild in (1, 2) for person in range(8)]


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """Number replies and choices 1, 2, 3, ... instead of by the time, so that two runs can be compared."""
    monkeypatch.setattr(change_numbers, "microseconds", lambda: 0)


async def both(folder, seed: int):
    """Run a history and the same with other words; return the outcomes and the stored choices."""
    history = random_history(random.Random(seed), PEOPLE, n_asked=sized(ci=45, full=300))
    wishes = [Wished(at=500, who=who, said="like a pirate") for who in PEOPLE]
    history = sorted([*history, *wishes], key=lambda event: event.at)
    history = with_choices(history, random.Random(seed))
    choices, seats = [], []

    async def read(house) -> None:
        of = house.store.preferences.of
        choices.append(await of([house.store.member_id(who) for who in PEOPLE], 1000))
        answered = (await house.store.choices.answered(1000)).choices
        seats.append(([one.seat for one in answered], house.generator.styles))

    keys = made_keys(folder / "keys")
    outcomes = [
        await outcome_of(told, folder / name, keys, then=read)
        for name, told in (("said", history), ("reworded", reworded(history, random.Random(-seed))))
    ]
    assert len(outcomes[0].heads) == len(PEOPLE)
    assert outcomes[0].prior is not None
    assert sum(map(len, choices[0].values())) > 5
    return outcomes, choices, seats


@pytest.mark.parametrize("seed", range(1, 1 + sized(ci=1, full=50)))
async def test_other_words_leave_the_same_heads_to_the_last_bit(tmp_path, seed):
    (said, reworded_), (choices, other_choices), (seats, other_seats) = await both(tmp_path, seed)

    assert said == reworded_
    assert choices == other_choices
    assert len(seats[0]) > 5 and None not in seats[0]
    assert seats[0] == other_seats[0]  # the kinds of candidates, and the shares with which they were dealt
    assert [dealt_in(styles) for styles in seats[1]] == [dealt_in(styles) for styles in other_seats[1]]


def dealt_in(styles) -> list[object]:
    """Return what the candidates of a reply were dealt; a member's own words of ``/style`` are left out."""
    return [(one.name, one.seat) for one in styles]


EXAMPLES = ("No", "Sure thing", "Tea, please", "Maybe later", "Blue", "At noon", "Not now", "By train")


def liked_history(*, repeated: bool = False) -> list[Event]:
    """A member who likes emoji and says so by reactions alone.

    Args:
        repeated: Whether the member writes the words of each reply before it.
    """
    me, history, message_id = PEOPLE[0], [Agreed(at=0, who=PEOPLE[0])], 0
    for text in EXAMPLES:
        for reply, mark in ((f"{text}. 😀", "👍"), (f"{text.upper()} it is.", "👎")):
            message_id += 1
            asked = Asked(
                at=10 * message_id,
                who=me,
                said=reply if repeated else f"what {message_id}",
                reply=reply,
                message_id=message_id,
            )
            history += [asked, Reacted(at=asked.at + 1, who=me, message_id=message_id, emoji=mark)]
    last = [
        Asked(at=1001 + n, who=me, said="and now?", reply=f"Well {n}.", message_id=100 + n) for n in range(6)
    ]
    return [*history, Learnt(at=1000), *last]


async def prompts_of(folder) -> list[list[list[tuple[str, str]]]]:
    """Return the name and instruction of every seat, for a history and for the same with other words."""
    keys, found = made_keys(folder / "keys"), []

    def read(house) -> None:
        found.append([[(one.name, one.instruction) for one in styles] for styles in house.generator.styles])

    history = liked_history()
    for name, told in (("said", history), ("reworded", reworded(history, random.Random(1)))):
        await outcome_of(told, folder / name, keys, then=read)
    return found


async def test_other_words_leave_the_same_prompts_but_for_the_conversation(tmp_path):
    said, reworded_ = await prompts_of(tmp_path)

    assert said == reworded_
    offered = [offered_in(name) for seats in said[-6:] for name, _ in seats]
    assert any(wish == "emoji" for wish, _ in offered)
    assert any(examples for _, examples in offered)


async def offered_when_repeated(folder):
    """Return heads and offers for a history, and for one in which the member writes the replies' words."""
    keys, found, me = made_keys(folder / "keys"), [], PEOPLE[0]

    async def read(house) -> None:
        found.append(await house.parts.responder.offers.known(me))

    outcomes = [
        await outcome_of(liked_history(repeated=each), folder / str(each), keys, then=read)
        for each in (False, True)
    ]
    return outcomes, found


async def test_words_that_a_reply_repeats_take_away_its_example_and_nothing_else(tmp_path):
    (apart, repeated), (offers, without) = await offered_when_repeated(tmp_path)

    assert apart == repeated
    assert len(offers.examples) == 2 and without.examples == ()
    assert "emoji" in [one.name for one in offers.wishes]
    assert offers.wishes == without.wishes


async def test_control_replies_that_may_repeat_words_stay_examples(tmp_path, monkeypatch):
    monkeypatch.setattr(responder, "quotes", lambda text, context: False)

    _, (offers, same) = await offered_when_repeated(tmp_path)

    assert len(offers.examples) == 2
    assert offers == same


async def test_control_wishes_that_depend_on_examples_differ(tmp_path, monkeypatch):
    known = OffersBook.known

    async def only_with_examples(self, who, *more) -> Offers:
        offers = await known(self, who, *more)
        return offers if offers.examples else Offers()

    monkeypatch.setattr(OffersBook, "known", only_with_examples)

    _, (offers, without) = await offered_when_repeated(tmp_path)

    assert offers.wishes != without.wishes


async def test_control_examples_with_the_members_words_change_the_prompts(tmp_path, monkeypatch):
    decide, known = Responder._decide, OffersBook.known
    heard: list[str] = []

    async def listening(self, prompt, but, asker):
        heard.append((await prompt.read()).message)
        return await decide(self, prompt, but, asker)

    async def with_words(self, who, *more) -> Offers:
        offers = await known(self, who, *more)
        return replace(offers, examples=tuple(heard[-1:]))

    monkeypatch.setattr(Responder, "_decide", listening)
    monkeypatch.setattr(OffersBook, "known", with_words)

    said, reworded_ = await prompts_of(tmp_path)

    assert said != reworded_
    assert [[name for name, _ in seats] for seats in said] == [[n for n, _ in seats] for seats in reworded_]


async def test_control_features_that_take_in_the_message_change_heads(tmp_path, monkeypatch):
    replies_alone = FeatureMap.encode

    def pairs(self: FeatureMap, message: str, candidates) -> Encoded:
        encoded = replies_alone(self, message, candidates)
        said = self.features([message])
        return Encoded((encoded.features + 0.1 * said).astype(np.float32), encoded.relevance)

    monkeypatch.setattr(FeatureMap, "encode", pairs)

    (said, reworded_), (choices, other_choices), _ = await both(tmp_path, 1)

    assert all(said.heads[who] != reworded_.heads[who] for who in PEOPLE)
    assert said.prior != reworded_.prior
    assert said.counters == reworded_.counters
    assert choices != other_choices


async def test_control_shares_that_follow_the_message_change_what_is_dealt(tmp_path, monkeypatch):
    with_wishes, said = StylePortfolio.base, []
    decide = Responder.decide

    async def heard(self, prompt, **more):
        said.append(len(prompt.context.message))
        return await decide(self, prompt, **more)

    def base(self, head, server=0, *, wished=()):
        found = with_wishes(self, head, server, wished=wished)
        return {name: share * (1 + (said[-1] + i) % 3) for i, (name, share) in enumerate(found.items())}

    monkeypatch.setattr(Responder, "decide", heard)
    monkeypatch.setattr(StylePortfolio, "base", base)

    _, _, (seats, other_seats) = await both(tmp_path, 1)

    assert seats[0] != other_seats[0]
