"""Learning end to end: two members with opposite tastes, and each gets more of the replies that they like.

Encoder, store and training are real. The candidates are scripted, so that both kinds are always available.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from personalization.encoding.loading import load_encoder
from storage.records import Who
from tests.integration.conftest import World, opened, shapeless
from tests.rig.encoded_once import EncodedOnce
from tests.rig.size import sized

TOPICS = (
    """
breakfast, running, old films, cats, rainy days, chess, the sea, gardening, jazz, trains, bread,
mountains, board games, coffee, winter, painting, bicycles, spicy food, sleep, books, camping,
photography, tea, football, dancing, robots, castles, pancakes, stars, dogs, poetry, swimming,
cheese, volcanoes, knitting, history, mushrooms, violins, lakes, honey, maps, origami, markets,
forests, cooking, lighthouses, puzzles, noodles, museums, clouds
""".replace("\n", " ")
    .strip()
    .split(", ")
)
SHORT = (
    "I love {}, tell me what you like!",
    "{}? Yes, a wonderful idea for today.",
    "Try {}, it is worth it. What do you think?",
    "Nice, {} is a great choice for a day off.",
    "Good question! I would start with {}.",
    "Sure, {} is always fun with good friends.",
    "I like {}, but not before noon.",
    "Ha, {}! You know how to make me happy.",
)
LONG = (
    "There is a lot to say about {}, and most of it depends on where you start. I would begin with something"
    " small, see how it feels for a week, and only then decide whether to go deeper into it.",
    "People have very different views of {}. Some enjoy the quiet side of it, others want company and a"
    " challenge; both are fine, as long as you do not compare yourself with everybody else.",
    "When I think of {}, three things come to mind: patience, preparation, and somebody to share it with."
    " The first two can be learnt from any book; the third makes the difference in the end.",
    "My advice on {} is to keep notes about what worked and what did not. After a month you will see patterns"
    " that nobody could have told you beforehand, and then it becomes a pleasure instead of a chore.",
)


def candidates(number: int) -> list[str]:
    """Return two short and two long candidates about one topic; their order depends on the prompt."""
    topic = TOPICS[number]
    short = [SHORT[(number + shift) % len(SHORT)].format(topic) for shift in (0, 3)]
    long = [LONG[(number + shift) % len(LONG)].format(topic) for shift in (0, 1)]
    mixed = [short[0], long[0], long[1], short[1]]
    turn = number % 4
    return mixed[turn:] + mixed[:turn]


def is_short(text: str) -> bool:
    return len(text) < 60


N_NEW = sized(ci=12, full=30)
"""Prompts over which a share is measured."""


async def teach(world: World, member, *, likes_short: bool) -> None:
    """Ask twenty times and react to each reply by its length only."""
    for number in range(20):
        world.generator.enqueue(*candidates(number))
        reply = await world.ask(member, f"what about {TOPICS[number]}?")
        await member.react(reply, "👍" if is_short(reply.content) == likes_short else "👎")


async def share_of_short(world: World, member) -> float:
    """Measure the share of short replies over new prompts."""
    n_short = 0
    for number in range(20, 20 + N_NEW):
        world.generator.enqueue(*candidates(number))
        reply = await world.ask(member, f"tell me about {TOPICS[number]}")
        n_short += is_short(reply.content)
    return n_short / N_NEW


@pytest.fixture
async def world(settings):
    """A server with the real encoder, and enough exploration to show both kinds while learning."""
    encoder = EncodedOnce(load_encoder("packaged", "cpu"))
    alone = replace(settings, bot=replace(settings.bot, history_messages=0))  # else its long texts are echoes
    async with opened(shapeless(alone), encoder=encoder) as world:
        yield world


@pytest.mark.slow
async def test_each_member_gets_their_own_kind_and_forgetting_undoes_it(world):
    alice, ben = world.alice, world.ben
    store = world.house.store
    of_alice, of_ben = (store.member_id(Who(world.guild.id, member.id)) for member in (alice, ben))
    await world.agree(alice)
    await world.agree(ben)
    before = [await share_of_short(world, member) for member in (alice, ben)]

    await teach(world, alice, likes_short=True)
    await teach(world, ben, likes_short=False)
    report = await world.house.trainer.run_round()
    after_alice, after_ben = [await share_of_short(world, member) for member in (alice, ben)]
    bens_head = await store.learning.head_of(of_ben)

    shown = await alice.slash(world.channel, "forget-me")
    await alice.click(shown.response, label="Forget everything about me")
    await world.house.trainer.run_round()
    forgotten = await share_of_short(world, alice)

    assert before[0] == before[1]
    assert 0.25 <= before[0] <= 0.75, "the prior already prefers one kind"
    assert (report.n_members, report.n_labels) == (2, 40)
    assert after_alice >= 0.8
    assert 1 - after_ben >= 0.8
    assert forgotten == before[0]
    assert await store.learning.head_of(of_alice) is None
    assert await store.learning.head_of(of_ben) == bens_head
    assert await share_of_short(world, ben) == after_ben


@pytest.mark.slow
async def test_a_head_trained_in_the_worker_process_outlives_a_restart(settings):
    async with opened(settings) as world:
        await world.agree(world.alice)
        for number in range(3):
            world.generator.enqueue(*candidates(number))
            reply = await world.ask(world.alice)
            await world.alice.react(reply, "👍" if is_short(reply.content) else "👎")
        member_id = world.house.store.member_id(Who(world.guild.id, world.alice.id))
        await world.house.trainer.run_round()
        before = await world.house.store.learning.head_of(member_id)

    with ThreadPoolExecutor(1) as executor:
        from bot.app.composition import open_house
        from tests.fakes import HashEncoder, ScriptedGenerator

        async with open_house(
            settings, encoder=HashEncoder(), generator=ScriptedGenerator(), trainer_executor=executor
        ) as house:
            after = await house.store.learning.head_of(member_id)
            ranking = await house.ranker.rank(member_id, "hello", candidates(30))

    assert before is not None
    assert after == before
    assert ranking.head_version == before.version
