"""Members whose data an earlier release stored are answered like all others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bot.app.composition import open_house
from bot.generation import Context
from bot.replies.decision import Prompt
from personalization.insight.uplift_report import read_choices, report_of
from personalization.labels.labels import EmojiValence
from personalization.labels.plugged import Labeller
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.counterfactual import small_settings
from tests.rig.released import ALICE, BOB, RELEASED, restore, settings_in

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("revision", sorted(path.name for path in RELEASED.iterdir()))
async def test_members_of_every_release_get_an_answer_and_the_host_a_report(revision, tmp_path):
    restore(revision, tmp_path / "data")
    settings = replace(small_settings(), storage=settings_in(tmp_path / "data"))
    generator = ScriptedGenerator()
    with ThreadPoolExecutor(1) as executor:
        parts = {"generator": generator, "encoder": HashEncoder(16), "trainer_executor": executor}
        async with open_house(settings, **parts, seed=0) as house:
            for who in (ALICE, BOB):
                generator.enqueue("one fine answer", "two fine answers", "three of them", "four of them")
                decision = await house.parts.responder.decide(Prompt(who, Context("hello")))
                assert decision.text
            await house.parts.responder._dealer.book.refresh()
            label_of, valence = Labeller(settings.personalization), EmojiValence()
            choices = await read_choices(house.store.choices, LONG_AGO, valence, label_of)
            report_of(choices)
