"""What is easy to forget when a part is added: every public message has one door, every periodic work a job.

The source is read, not run: a new message, job or setting that is not connected fails here by itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from bot.app.config_reload import AT_ONCE, put_into_use
from bot.config import Settings
from tests.integration.conftest import settings as settings  # a fixture
from tests.integration.conftest import world as world  # a fixture

ROOT = Path(__file__).parents[2]
DOORS = {
    "bot/messages/posting.py": "replies, and notes with their mark",
    "bot/messages/streaming.py": "further chunks of a reply",
    "bot/app/playground.py": "the welcome, an embed without text",
}
"""The files that may post in a channel. All others answer an interaction, visible to its member only."""
NO_CHANNELS = {"self._bot.metrics", "self._export"}
"""Objects whose method of the same name posts nothing in a channel; an export goes to its member only."""
PERIODIC = re.compile(r"(expire\w*|settle|erase_due|look_thoroughly|rebuild_prior|run_round)")


def calls_in(path: Path) -> Iterator[tuple[ast.Call, str, str]]:
    """Yield the calls of methods in a file, with the object they are called on and the name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node, ast.unparse(node.func.value), node.func.attr


def posts_in(path: Path) -> list[str]:
    """Return the calls in a file that post a message which others can see."""
    found = []
    for call, of, name in calls_in(path):
        private = any(
            one.arg == "ephemeral" and isinstance(one.value, ast.Constant) and one.value.value is True
            for one in call.keywords
        )
        if name in ("reply", "send_message") or (name == "send" and "socket" not in of):
            if not private and of not in NO_CHANNELS:
                found.append(f"{of}.{name}")
    return found


def test_only_named_files_post_what_others_can_see():
    sources = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "bot").rglob("*.py")}
    posting = {name: posts for name, path in sources.items() if (posts := posts_in(path))}

    assert posting.keys() == DOORS.keys(), "post through bot/messages/posting.py: say for a note"


def test_control_a_message_past_the_door_is_found(tmp_path):
    (tmp_path / "cog.py").write_text("async def greet(self, channel):\n    await channel.send('hello')\n")

    assert posts_in(tmp_path / "cog.py") == ["channel.send"]


def test_every_periodic_work_is_a_job():
    defined = {
        node.name
        for package in ("bot", "storage", "personalization")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.AsyncFunctionDef) and PERIODIC.fullmatch(node.name)
    }
    used = "".join((ROOT / name).read_text("utf-8") for name in JOBS)

    assert {"expire", "expire_texts", "settle", "erase_due", "look_thoroughly"} <= defined
    assert [name for name in sorted(defined) if not re.search(rf"\.{name}\b", used)] == []


JOBS = ("bot/app/schedule.py", "bot/commands/join_discord.py")
"""The files that register jobs."""


class Watched:
    """Settings that note which sections are read."""

    def __init__(self, settings) -> None:
        self._settings, self.read = settings, set[str]()

    def __getattr__(self, section: str):
        self.read.add(section)
        return getattr(self._settings, section)


async def test_every_section_that_changes_at_once_is_put_into_use(world, settings):
    watched = Watched(settings)

    put_into_use(cast(Settings, watched), world.house, world.bot)
    await world.bot.servers.of(world.guild.id)  # reads its sections for each server

    assert AT_ONCE.keys() <= watched.read
