"""Each use of the wall clock is listed with a reason why a jump of the host clock cannot bend what follows.

Intervals, ages of caches, limits and deletions go by a steady clock (``storage/clock.py``). The wall clock is
for dates. A new use of it is a decision: it is added here with its reason, or goes by the steady clock.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIGRATIONS = "storage/database/migrations/versions"  # released migrations are never edited
OF_MODULES = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "time": {"time", "time_ns", "gmtime", "localtime", "ctime"},
    "utils": {"utcnow"},  # discord.utils
    "func": {"now", "current_timestamp", "clock_timestamp", "localtimestamp"},
}
PASSED_ON = {"utcnow", "_now"}
"""Names that mean the wall clock wherever they are read."""

ALLOWED: dict[str, set[str]] = {
    "hands the clock on; the uses are listed where they are": {
        "bot/app/composition.py::open_house",
        "bot/app/training.py::open_training",
        "bot/background/uplift_reporter.py::Reporter.__init__",
        "bot/cogs/managers/stats.py::Stats.__init__",
        "personalization/rounds/trainer.py::Trainer.__init__",
        "storage/clock.py::utcnow",
        "storage/maintenance/audit_trail.py::AuditTrail.__init__",
        "storage/store.py::Store.open",
    },
    "compares with times of Discord; a wrong clock answers what was missed too late or not at all": {
        "bot/cogs/chat/catching_up.py::CatchingUp.look",
        "bot/cogs/chat/catching_up.py::_age_of",
    },
    "judges the wall clock by the steady clock": {
        "storage/database/deletion_clock.py::DeletionClock.wall",
        "storage/database/deletion_clock.py::DeletionClock.now",
    },
    "sets the origin of a clock that goes on by the steady clock": {
        "bot/background/scheduler.py::LearningScheduler.plan_early",  # asks SteadyTime
        "bot/background/scheduler.py::LearningScheduler.start",  # asks SteadyTime
        "bot/background/scheduler.py::SteadyTime.__init__",
    },
    "dates a row, never before the trusted time; the future is bounded where it is used": {
        "storage/learning/learning_records.py::LearningRecords.start_over",
        "storage/members/consent.py::Consents.record.unit",
        "storage/members/learning_pause.py::Pauses.resume",
        "storage/members/wishes.py::Wishes.put",
        "storage/privacy/departures.py::Departures.record",
        "storage/privacy/departures.py::Departures.record_list.compare",
        "storage/privacy/erasing.py::Eraser.finish",
        "storage/privacy/member_rights.py::MemberRights.refuse",
        "storage/members/decision_times.py::DecisionTimes.arrival",  # beside the steady clock
        "storage/replies/feedback_store.py::FeedbackStore.record_rating",
        "storage/replies/feedback_store.py::FeedbackStore.undo",
        "storage/replies/preferences.py::Preferences.record_another",
        "storage/replies/preferences.py::Preferences.record_pick",
        "storage/replies/taps.py::Taps.record",
        "storage/replies/remarks.py::Remarks.record",
        "storage/replies/reply_store.py::ReplyStore.record",
        "storage/replies/reported_replies.py::Reports.record",
    },
    "dates a record for people; nothing is computed from it": {
        "bot/app/glass_box/panels.py::GlassBox._note_changes",
        "bot/app/glass_box/panels.py::GlassBox.posted",
        "bot/app/glass_box/panels.py::GlassBox.round_ended",
        "bot/cogs/members/my_data.py::MyData.my_data",
        "bot/metrics.py::_RoundMetrics.take",
        "bot/moderation/report_queue.py::ReportQueue.take",
        "personalization/rounds/trainer.py::Trainer._due",
        "personalization/rounds/trainer.py::Trainer._store_chunk",
        "personalization/rounds/prior_in_use.py::PriorInUse.record",
        "storage/maintenance/audit_trail.py::AuditTrail.record",
        "storage/maintenance/backup.py::back_up_keys",
    },
    "shows when a day ends that the steady clock measures": {
        "bot/servers/daily_limits.py::Limits._standing",
    },
    "bounds the time of a label from above": {
        "personalization/labels/labels.py::faded",
    },
    "chooses the span of a report; a jump shows other days until the clock is right": {
        "bot/background/uplift_reporter.py::Reporter.report",
        "bot/servers/published.py::Frozen.of",
    },
    "a jump ahead lets recent members teach the prior days early; prior_min_members still holds": {
        "personalization/rounds/trainer.py::Trainer.rebuild_prior",
    },
    "a jump ahead removes an unfinished download, which starts again; no steady clock dates files": {
        "bot/generators/model_files.py::_work_folder",
    },
    "an operator's command; no steady clock reaches back to the day of the copy": {
        "storage/maintenance/restoring_keys.py::_require_young",
    },
    "numbers that only grow; a jump ahead leaves a gap, after a jump back they count by one": {
        "storage/database/change_numbers.py::microseconds",
    },
    "the simulated Discord of the playground follows the host": {
        "bot/app/playground.py::_set_clock",
    },
}
PLACES = {place for places in ALLOWED.values() for place in places}


def is_wall_clock(node: ast.AST) -> bool:
    """Return whether this expression reads the wall clock, or is a wall clock that is passed on."""
    match node:
        case ast.Attribute(value=ast.Name(id=owner), attr=name) if name in OF_MODULES.get(owner, ()):
            return True
        case ast.Attribute(value=ast.Attribute(attr=owner), attr=name) if name in OF_MODULES.get(owner, ()):
            return True
        case ast.Attribute(attr=name, ctx=ast.Load()) | ast.Name(id=name, ctx=ast.Load()) if (
            name in PASSED_ON
        ):
            return True
        case ast.Call(func=ast.Name(id="now") | ast.Attribute(attr="now")):
            return True
        case ast.ImportFrom(module="time", names=names):
            return any(name.name in OF_MODULES["time"] for name in names)
        case _:
            return False


def uses(tree: ast.AST, scope: str = "") -> Iterator[str]:
    """Yield the name of the function or class around each use; empty for the module."""
    for node in ast.iter_child_nodes(tree):
        inner = scope
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{scope}.{node.name}".lstrip(".")
        if is_wall_clock(node):
            yield scope
        yield from uses(node, inner)


def found() -> set[str]:
    """Return ``file::function`` of every use in the product."""
    return {
        f"{path.relative_to(ROOT)}::{scope}"
        for package in ("bot", "personalization", "storage")
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.is_relative_to(ROOT / MIGRATIONS)
        for scope in uses(ast.parse(path.read_text("utf-8")))
    }


def test_every_use_of_the_wall_clock_has_a_reason() -> None:
    assert found() - PLACES == set(), "use the steady clock, or add the place with its reason"


def test_every_reason_has_a_use() -> None:
    assert PLACES - found() == set()
    assert sum(len(places) for places in ALLOWED.values()) == len(PLACES)


@pytest.mark.parametrize(
    "code",
    [
        "datetime.now(UTC)",
        "datetime.datetime.now()",
        "datetime.utcnow()",
        "time.time()",
        "read = time.time",
        "from time import time",
        "from time import time_ns as ns",
        "discord.utils.utcnow()",
        "self._now() - began_at",
        "Store(now=utcnow)",
        "clock.now()",
        "func.now()",
        "select(func.current_timestamp())",
        "date.today()",
        "time.localtime()",
    ],
)
def test_control_a_new_use_is_found(code: str) -> None:
    assert set(uses(ast.parse(f"class A:\n    def new(self):\n        {code}"))) == {"A.new"}


@pytest.mark.parametrize("code", ["time.monotonic()", "steady_s()", "asyncio.sleep(1)", "self._now = now"])
def test_a_steady_clock_needs_no_reason(code: str) -> None:
    assert list(uses(ast.parse(code))) == []
