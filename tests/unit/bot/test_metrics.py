"""Metrics: recorded values, values read at scrape time, and the page that shows them."""

from __future__ import annotations

import asyncio
import math
import socket

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from bot.app.monitor import create_page, measure_lag, open_monitor, open_page
from bot.background.round_curves import RoundCurves
from bot.config import ConfigError
from bot.metrics import Metrics, Outcome
from bot.settings import OperatorSettings
from personalization.insight.off_policy import Estimate, Estimates
from personalization.insight.uplift_report import Outcome as LiftOutcome
from personalization.insight.uplift_report import Report
from personalization.rounds.round_results import PriorReport, RoundReport


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """(name, label value) -> value."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, ",".join(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_outcome_is_there_from_the_start():
    found = samples(Metrics())

    assert {label: n for (name, label), n in found.items() if name == "simpatico_messages_total"} == {
        "answered": 0,
        "withheld": 0,
        "unavailable": 0,
        "busy": 0,
        "unread": 0,
        "merged": 0,
        "limited": 0,
        "withdrawn": 0,
        "helped": 0,
        "failed": 0,
    }


def test_messages_and_the_time_of_replies_are_counted_by_part():
    metrics = Metrics()

    metrics.message(Outcome.ANSWERED)
    metrics.reply({"generate": 1.5, "rank": 0.125, "unheard of": 9.0})

    found = samples(metrics)
    assert found["simpatico_messages_total", "answered"] == 1
    assert found["simpatico_reply_seconds_sum", "generate"] == 1.5
    assert found["simpatico_reply_seconds_count", "rank"] == 1
    assert [label for name, label in found if "unheard" in label] == []
    assert (found["simpatico_answer_seconds_sum", ""], found["simpatico_answer_seconds_count", ""]) == (
        1.625,
        1,
    )


async def test_a_round_is_counted_with_what_it_reports():
    metrics = Metrics()

    async def work() -> RoundReport:
        return RoundReport(version=3, n_members=4, n_labels=50, n_rolled_back=1)

    await metrics.watched("round", work)()

    found = samples(metrics)
    assert found["simpatico_works_total", "done,round"] == 1
    assert found["simpatico_rounds_total", ""] == 1
    assert found["simpatico_round_members_total", ""] == 4
    assert found["simpatico_round_labels_total", ""] == 50
    assert found["simpatico_heads_rolled_back_total", ""] == 1


async def test_a_round_with_nothing_to_do_is_a_work_and_no_round():
    metrics = Metrics()

    async def work() -> RoundReport:
        return RoundReport()

    await metrics.watched("round", work)()

    found = samples(metrics)
    assert (found["simpatico_works_total", "done,round"], found["simpatico_rounds_total", ""]) == (1, 0)


async def test_a_work_that_fails_is_counted_and_still_fails():
    metrics = Metrics()

    async def work() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        await metrics.watched("round", work)()

    assert samples(metrics)["simpatico_works_total", "failed,round"] == 1


async def test_a_rebuilt_prior_says_what_it_rests_on():
    metrics = Metrics()

    async def work() -> PriorReport:
        return PriorReport("id", n_members=30, n_labels=900, changed=True)

    await metrics.watched("prior", work)()

    found = samples(metrics)
    assert (found["simpatico_prior_members", ""], found["simpatico_prior_labels", ""]) == (30, 900)


async def test_the_lift_is_shown_with_its_interval_and_unknown_before_the_first_report():
    metrics, gain = Metrics(), Estimate(0.04, 0.01, 0.07, 500.0)
    before, thrice = samples(metrics), Estimates(gain, gain, gain)

    async def work() -> Report:
        outcome = LiftOutcome(posted=gain, head=thrice, prior=thrice, gain=thrice)
        return Report(1000, 40, 300, 400, 0, 0, 0, outcome, outcome)

    await metrics.watched("report", work)()

    names = ("simpatico_lift", "simpatico_lift_low", "simpatico_lift_high")
    assert all(math.isnan(before[name, ""]) for name in names)
    assert [samples(metrics)[name, ""] for name in names] == pytest.approx([4.0, 1.0, 7.0])


def test_what_is_kept_elsewhere_is_read_when_somebody_asks():
    metrics, waiting, counts = Metrics(), [1, 2], {"blank": 1}
    metrics.gauge("simpatico_waiting", "Waiting.", lambda: len(waiting))
    metrics.counters("simpatico_dropped", "Dropped.", "reason", ["blank", "loop"], lambda: counts)

    waiting.append(3)
    counts.update(blank=5, secret=7)

    found = samples(metrics)
    assert found["simpatico_waiting", ""] == 3
    assert {label: n for (name, label), n in found.items() if name == "simpatico_dropped_total"} == {
        "blank": 5,
        "loop": 0,
    }


async def test_a_loop_that_stands_still_shows_as_lag():
    metrics = Metrics()
    task = asyncio.create_task(measure_lag(metrics, every_s=0.001))
    await asyncio.sleep(0)

    stop = asyncio.get_running_loop().time() + 0.3
    while asyncio.get_running_loop().time() < stop:
        pass  # no other task runs
    while not samples(metrics)["simpatico_loop_lag_seconds_count", ""]:
        await asyncio.sleep(0.001)
    task.cancel()

    assert samples(metrics)["simpatico_loop_lag_seconds_sum", ""] > 0.2


async def test_the_page_tells_the_metrics_and_takes_further_addresses():
    async def health(_request: web.Request) -> web.Response:
        return web.Response(text="well")

    runner = web.AppRunner(create_page(Metrics(), [web.get("/healthz", health)]))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/metrics") as answer:
            body, kind = await answer.text(), answer.content_type
        async with session.get(f"{url}/healthz") as answer:
            well = await answer.text()
    await runner.cleanup()

    assert "# TYPE simpatico_messages_total counter" in body
    assert (kind, well) == ("text/plain", "well")


class Bare:
    """The part of a bot that the page needs."""

    def __init__(self) -> None:
        self.metrics = Metrics()


async def test_no_port_is_opened_unless_one_is_named():
    async with open_monitor(OperatorSettings(), Bare()):
        assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "loop-lag"] == []


async def test_a_port_that_is_taken_is_one_readable_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"metrics_port = {port}: cannot be opened on 127.0.0.1"):
            async with open_page(OperatorSettings(metrics_port=port), Metrics()):
                pass


async def test_rounds_are_drawn_as_tensorboard_curves(tmp_path):
    curves = RoundCurves(tmp_path / "curves")
    reports = [
        RoundReport(version=1, n_members=2, n_labels=9, seconds=0.5),
        RoundReport(),
        RoundReport(version=2, n_members=3, n_labels=12, n_rolled_back=1, seconds=0.25),
    ]

    async def work() -> RoundReport:
        return reports.pop(0)

    for _ in range(3):
        await curves.drawn(work)()
    curves.close()

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(tmp_path / "curves"))
    read.Reload()
    drawn = {
        tag: [(e.step, float(e.tensor_proto.float_val[0])) for e in read.Tensors(tag)]
        for tag in read.Tags()["tensors"]
    }
    assert drawn == {
        "round/members": [(1, 2.0), (2, 3.0)],
        "round/labels": [(1, 9.0), (2, 12.0)],
        "round/rolled_back": [(1, 0.0), (2, 1.0)],
        "round/removed": [(1, 0.0), (2, 0.0)],
        "round/seconds": [(1, 0.5), (2, 0.25)],
    }
