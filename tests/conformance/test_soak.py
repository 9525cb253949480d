"""The soak detects lost and extra reactions, and reports nothing else."""

from __future__ import annotations

import pytest

from storage.store import Store
from tests.rig.soak import Child, Tally
from tests.rig.soak_model import Faulty, Given, Model, Step
from tests.unit.storage.given import ALICE, BOB, GUILD, posted, settings_in

GIVEN = Given(ALICE.user_id, 1, "👍")


@pytest.fixture
async def store(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as opened:
        await posted(opened, ALICE, 1)
        await posted(opened, BOB, 2)
        yield opened


@pytest.fixture
def model() -> Model:
    members = [ALICE.user_id, BOB.user_id]
    return Model(
        guild_id=GUILD,
        users=members,
        since=dict.fromkeys(members, 0),
        replies={1: ALICE.user_id, 2: BOB.user_id},
        given={GIVEN},
    )


async def test_what_is_stored_as_it_must_be_is_neither_lost_nor_extra(store, model):
    await store.feedback.record_reaction(ALICE, 1, "👍", added=True)

    assert await model.compare(store) == Faulty([], [])


async def test_a_reaction_that_is_not_stored_is_lost(store, model):
    assert await model.compare(store) == Faulty([GIVEN], [])


async def test_a_reaction_that_should_not_be_stored_is_extra(store, model):
    for message, emoji in ((1, "👍"), (2, "👎")):
        await store.feedback.record_reaction(ALICE, message, emoji, added=True)

    assert await model.compare(store) == Faulty([], [Given(ALICE.user_id, 2, "👎")])


@pytest.mark.parametrize(
    "step",
    [
        Step("unreact", *GIVEN),
        Step("delete", message_id=1),
        Step("leave", ALICE.user_id),
    ],
)
async def test_what_a_step_under_way_may_have_changed_is_left_out(store, model, step):
    assert await model.compare(store, [step]) == Faulty([], [])


async def test_a_step_about_something_else_excuses_nothing(store, model):
    steps = [
        Step("unreact", ALICE.user_id, 1, "👎"),
        Step("delete", message_id=2),
        Step("leave", BOB.user_id),
    ]

    assert await model.compare(store, steps) == Faulty([GIVEN], [])


async def test_reactions_of_those_who_did_not_agree_are_not_expected(store, model):
    del model.since[ALICE.user_id]

    assert await model.compare(store) == Faulty([], [])


@pytest.mark.parametrize("fault", ["lost", "doubled", "in_clear", "unsound"])
def test_any_fault_makes_the_summary_unclean(fault):
    assert Tally().is_clean
    assert not Tally(**{fault: 1}).is_clean


def test_what_a_child_said_last_is_what_is_under_way():
    class Process:
        stdout = (
            b'step {"what": "ask", "user_id": 5}\n',
            b'quiet {"events": 1}\n',
            b'step {"what": "react", "user_id": 5, "message_id": 6, "emoji": "x"}\n',
            b'step {"what": "rea',
        )

    child = Child(Process())

    child.listen()

    assert (child.under_way, child.quiet) == ([Step("react", 5, 6, "x")], [{"events": 1}])
