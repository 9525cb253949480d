"""Metrics after a conversation with the real bot; the dashboard uses only metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.app.monitor import watch
from bot.metrics import PARTS, Metrics
from bot.moderation.output_filter import Drop
from tests.unit.bot.test_metrics import samples

DASHBOARD = Path(__file__).parents[2] / "docs" / "operator" / "grafana-dashboard.json"


async def test_a_conversation_is_counted_and_nobody_can_be_told_from_it(world):
    watch(world.bot.metrics, world.bot)
    await world.agree(world.alice)
    world.generator.enqueue("", "Sure, the heron!", "discord.gg/abcdef")
    reply = await world.ask(world.alice, "a very private word")
    await world.alice.react(reply, "👍")
    await world.bot.inbox.wait_idle()
    world.generator.enqueue("")
    await world.ask(world.alice, "another one")
    await world.house.scheduler._run("round", world.house.scheduler._works["round"][0])

    found = samples(world.bot.metrics)
    assert {key: found[key] for key in found if key[0] == "simpatico_messages_total" and found[key]} == {
        ("simpatico_messages_total", "answered"): 1,
        ("simpatico_messages_total", "withheld"): 1,
    }
    assert {part: found["simpatico_reply_seconds_count", part] for part in PARTS} == dict.fromkeys(PARTS, 1)
    dropped = {reason: found["simpatico_candidates_dropped_total", reason.value] for reason in Drop}
    assert {reason.value: n for reason, n in dropped.items() if n} == {"blank": 2, "invite link": 1}
    assert found["simpatico_labels_total", ""] == 1
    assert found["simpatico_events_recorded_total", ""] == 1
    assert found["simpatico_candidates_written_total", ""] == 4
    assert (found["simpatico_answer_seconds_count", ""], found["simpatico_trains", ""]) == (1, 1)
    assert (found["simpatico_rounds_total", ""], found["simpatico_round_labels_total", ""]) == (1, 1)
    text = world.bot.metrics.text().decode()
    private = ["private", "heron", "👍", "alice", str(world.alice.id), str(world.guild.id), str(reply.id)]
    assert [word for word in private if word in text] == []


async def test_a_failed_ranking_is_counted(world):
    watch(world.bot.metrics, world.bot)
    world.house.ranker.close()

    await world.ask(world.alice)

    assert samples(world.bot.metrics)["simpatico_ranking_fallbacks_total", ""] == 1


def asked_for() -> set[str]:
    """Collect every metric named in an expression of the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return {name for expression in expressions for name in re.findall(r"simpatico_\w+", expression)}


@pytest.fixture
def there(world) -> set[str]:
    watch(world.bot.metrics, world.bot)
    families = text_string_to_metric_families(world.bot.metrics.text().decode())
    return {sample.name for family in families for sample in family.samples}


async def test_every_metric_of_the_dashboard_exists(there):
    assert asked_for() - there == set()


async def test_every_metric_stands_on_the_dashboard(there):
    families = {re.sub(r"_(total|sum|count|bucket)$", "", name) for name in there}
    shown = {re.sub(r"_(total|sum|count|bucket)$", "", name) for name in asked_for()}

    assert families - shown == set()


def test_control_a_metric_that_does_not_exist_is_found():
    metrics = Metrics()

    assert "simpatico_no_such_thing" not in metrics.text().decode()
