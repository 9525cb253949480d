"""``simpatico report`` on a data folder: the table, the JSON, a running bot's line, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.background.uplift_reporter import Reporter, verdict
from bot.commands.main import EXIT_CONFIG, EXIT_STORAGE
from personalization.insight.off_policy import Estimate, Estimates
from personalization.insight.uplift_report import Outcome, Report
from personalization.settings import LearningSettings
from storage.records import Place, Who
from storage.settings import StorageSettings
from storage.store import Store
from tests.unit.storage.given import IMPRESSION

TOLD_APART = replace(IMPRESSION, scores=(1.0, 0.0), prior_scores=(0.0, 1.0), propensities=(0.5, 0.5))
"""Ranking whose candidates are equally likely; the head prefers the first, the prior the second."""


async def fill(settings: StorageSettings) -> None:
    """Members with four replies each, drawn uniformly; only the best reply by the head is liked."""
    async with await Store.open(settings) as store:
        for user in range(20):
            who = Who(1, 1000 + user)
            await store.consent.record(who)
            for i in range(4):
                message, chosen = 10_000 + 10 * user + i, i % 2
                impression = replace(TOLD_APART, chosen=chosen)
                await store.replies.record(who, Place(5, (message,)), impression)
                if i < 2 or user % 2:  # the other members give no feedback
                    await store.feedback.record_reaction(
                        who, message, "👍" if chosen == 0 else "👎", added=True
                    )


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    """A filled data folder, which ``config.toml`` in the working folder names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text('[storage]\ndata_dir = "data"\nkey_dir = "keys"\n')
    settings = StorageSettings(data_dir=tmp_path / "data", key_dir=tmp_path / "keys", group_commit_ms=1)
    asyncio.run(fill(settings))
    return settings


def test_the_command_says_what_heads_bring_and_how_sure_that_is(data, tmp_path, capsys) -> None:
    assert main(["report", "--json", str(tmp_path / "report.json")]) == 0

    told = capsys.readouterr().out
    assert (
        "80 replies to 20 members in the last 90 days, 60 of them answered; head and prior disagree" in told
    )
    assert "| as they were posted | 37.5 (31.5 to 43.5) | 37.5 (31.5 to 43.5) |" in told
    assert (
        "Personal ranking brings +75.0 (+63.0 to +87.0) liked replies in 100 over what most people like"
        in told
    )
    figures = json.loads((tmp_path / "report.json").read_text())
    assert (figures["n_replies"], figures["n_answered"], figures["n_personal"]) == (80, 60, 80)
    assert figures["liked"]["gain"]["ips"]["value"] == pytest.approx(0.75)
    assert figures["disliked"]["gain"]["dr"]["value"] == pytest.approx(-0.75, abs=0.05)
    assert figures["liked"]["head"]["snips"]["n_effective"] == pytest.approx(40)


def test_an_empty_log_is_told_and_written_as_json(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text('[storage]\ndata_dir = "data"\nkey_dir = "keys"\n')
    settings = StorageSettings(data_dir=tmp_path / "data", key_dir=tmp_path / "keys", group_commit_ms=1)

    async def make() -> None:
        await (await Store.open(settings)).close()

    asyncio.run(make())

    assert main(["report", "--json", "report.json"]) == 0

    assert capsys.readouterr().out == (
        "0 replies to 0 members in the last 90 days, 0 of them answered; head and prior disagree on 0.\n"
    )
    assert json.loads((tmp_path / "report.json").read_text())["liked"]["gain"]["dr"]["value"] is None


def test_while_the_bot_runs_the_command_says_to_stop_it(data, capsys) -> None:
    async def beside_the_bot() -> int:
        async with await Store.open(data):
            return await asyncio.to_thread(main, ["report"])

    assert asyncio.run(beside_the_bot()) == EXIT_STORAGE
    assert "Another process uses" in capsys.readouterr().err


def test_days_below_one_are_refused(data, capsys) -> None:
    assert main(["report", "--days", "0"]) == EXIT_CONFIG
    assert "--days 0: expected a number from 1 on" in capsys.readouterr().err


async def test_a_running_bot_says_it_in_one_line_of_its_log(tmp_path, caplog) -> None:
    settings = StorageSettings(data_dir=tmp_path / "data", key_dir=tmp_path / "keys", group_commit_ms=1)
    await fill(settings)
    caplog.set_level(logging.INFO)

    async with await Store.open(settings) as store:
        await Reporter(store.choices, LearningSettings()).run()
        long_after = Reporter(
            store.choices, LearningSettings(), lambda: datetime.now(UTC) + timedelta(days=91)
        )
        await long_after.run()

    lines = [
        record.getMessage() for record in caplog.records if record.name == "bot.background.uplift_reporter"
    ]
    assert len(lines) == 1
    assert lines[0].startswith(
        "Personal ranking brings +75.0 (+63.0 to +87.0) liked replies in 100 over what most people like"
    )


@pytest.mark.parametrize(
    ("low", "high", "carried", "end"),
    [
        (0.01, 0.05, 500.0, ": a gain."),
        (-0.05, -0.01, 500.0, ": a loss."),
        (-0.01, 0.05, 500.0, ": not yet distinguishable from no effect."),
        (0.01, 0.05, 12.0, ": based on 12 replies, which is too few to conclude anything."),
        (float("nan"), float("nan"), 500.0, ": based on 500 replies, which is too few to conclude anything."),
    ],
)
def test_the_verdict_claims_no_more_than_the_interval_does(low, high, carried, end) -> None:
    same = Estimates(*[Estimate(0.02, low, high, carried)] * 3)
    outcome = Outcome(same.dr, same, same, same)

    assert verdict(Report(1000, 40, 300, 400, 0, 0, 0, outcome, outcome)).endswith(end)
