"""P6: nothing is stored before consent.

Alice agreed and has a reply. Then members who never agreed use the bot: they mention it, write direct
messages, react to Alice's reply and to their own, remove reactions, use `/privacy` and `/status`, rate, edit
and delete. Raw events arrive as well, as a hostile or broken gateway could send them. In full size these are
10,000 events. No row and no byte of any file may change, no file may hold their canaries, and with all
loggers at DEBUG no log line may hold their ids.

Control: a store that assumes everybody's consent; then rows are added.
"""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path

import pytest

from bot.app.logs import discreet_handler
from storage.members.consent import Consents
from storage.records import Consent, Who
from tests.integration.conftest import World
from tests.rig.canary import Canaries
from tests.rig.listening import everything_to
from tests.rig.size import sized

pytestmark = pytest.mark.promise("P6")

N_EVENTS = sized(ci=300, full=10_000)
SAID = "Sauerkirschen-marmelade"
FROM_ACTORS = 12
"""Events that one stranger causes through simcord's actors; the others are raw."""


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files except the index of the write-ahead log, which holds nothing but reader marks."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def rows(folder: Path) -> dict[str, int]:
    counts = {}
    for path in sorted(folder.rglob("*.db")):
        raw = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            counts[f"{path.name}: {name}"] = raw.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
        raw.close()
    return counts


async def as_members_do(world: World, stranger, alices_reply) -> None:
    """Use the bot as a member does, which causes :data:`FROM_ACTORS` events."""
    reply = await world.ask(stranger, SAID)
    for message in (reply, alices_reply):
        await stranger.react(message, "👍")
        await stranger.unreact(message, "👍")
    await stranger.react(alices_reply, "❤️")
    await stranger.send_dm(SAID)
    for command in ("privacy", "status", "feedback"):
        await stranger.slash(world.channel, command)
    sent = await stranger.send(world.channel, SAID)
    await stranger.edit(sent, f"{SAID} again")
    await stranger.delete(sent)


def raw_event(world: World, number: int, user_id: int, message_id: int) -> tuple[str, dict]:
    """Make a gateway event about a message of Alice or about an unknown message."""
    event = {
        "user_id": str(user_id),
        "channel_id": str(world.channel.id),
        "guild_id": str(world.guild.id),
        "message_id": str(message_id if number % 3 else message_id + number),
        "emoji": {"id": None, "name": "👎" if number % 2 else "🎉"},
        "burst": number % 5 == 0,
        "type": 0,
    }
    return ("MESSAGE_REACTION_ADD" if number % 4 else "MESSAGE_REACTION_REMOVE"), event


async def strangers_come(world: World, alices_reply) -> Canaries:
    """Send all events of members who did not agree; return their canaries."""
    theirs = Canaries().text("said", SAID)
    for number in range(3):
        stranger = world.guild.add_member(world.env.create_user(f"stranger {number}"))
        theirs.id("stranger", stranger.id)
        await as_members_do(world, stranger, alices_reply)
    for number in range(N_EVENTS - 3 * FROM_ACTORS):
        user_id = 822_333_444_555_000_000 + number % 100
        if number < 100:
            theirs.id("raw stranger", user_id)
        world.env.backend.emit(*raw_event(world, number, user_id, alices_reply.id))
        if number % 100 == 99:
            await world.env.settle()
    await world.env.settle()
    return theirs


@pytest.fixture
def folder(settings) -> Path:
    return settings.storage.data_dir.parent


async def test_events_of_those_who_did_not_agree_leave_no_row_no_byte_and_no_line(world, folder):
    await world.agree(world.alice)
    alices_reply = await world.ask(world.alice)
    bytes_before, rows_before = contents(folder), rows(folder)
    log = io.StringIO()

    with everything_to(discreet_handler(log)):
        theirs = await strangers_come(world, alices_reply)

    assert rows(folder) == rows_before
    assert contents(folder) == bytes_before
    assert theirs.in_folder(folder) == []
    assert theirs.in_text(log.getvalue().splitlines()) == []


async def test_control_consent_taken_for_granted_stores_strangers(world, folder, monkeypatch):
    async def granted(consents: Consents, who: Who) -> Consent:
        await consents.record(who)
        return Consent.AGREED

    await world.agree(world.alice)
    alices_reply = await world.ask(world.alice)
    before = rows(folder)
    monkeypatch.setattr(Consents, "of", granted)

    await strangers_come(world, alices_reply)

    added = {name: count - before[name] for name, count in rows(folder).items() if count != before[name]}
    assert added["data.db: members"] == 6, "expected three strangers, in the server and in direct messages"
    assert added["data.db: replies"] == 6
    assert added["data.db: feedback"] > 0
