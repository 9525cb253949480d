"""A server's settings for its emoji take effect in the next round; heads depend on the current ones only."""

from __future__ import annotations

from storage.records import Who
from storage.servers.stored_settings import GuildRecord
from tests.unit.personalization.bench import ALICE, LONG, SHORT, Bench

PARTY = ":4242"
ELSEWHERE = Who(2, ALICE.user_id)


async def party(bench: Bench, who: Who) -> None:
    """Add the server's emoji to a short reply, and a thumb down to a long one."""
    await bench.store.consent.record(who)
    await bench.store.feedback.record_reaction(who, await bench.reply(who, SHORT), PARTY, added=True)
    await bench.store.feedback.record_reaction(who, await bench.reply(who, LONG), "👎", added=True)


async def say(bench: Bench, **emoji: float) -> int:
    said = {f":{key.removeprefix('e')}": value for key, value in emoji.items()}
    return await bench.store.guild_settings.change(ALICE.guild_id, lambda _: GuildRecord({}, said))


async def n_labels(bench: Bench, who: Who) -> int:
    record = await bench.store.learning.head_of(bench.store.member_id(who))
    return 0 if record is None else record.n_labels


async def test_an_emoji_that_a_server_explains_becomes_labels_there_and_nowhere_else(bench):
    for who in (ALICE, ELSEWHERE):
        await party(bench, who)
    await bench.trainer.run_round()
    unknown = [await n_labels(bench, who) for who in (ALICE, ELSEWHERE)]

    await say(bench, e4242=1.0)
    await bench.trainer.run_round()

    assert unknown == [1, 1]
    assert [await n_labels(bench, who) for who in (ALICE, ELSEWHERE)] == [2, 1]


async def test_heads_do_not_remember_what_was_said_before(bench):
    await party(bench, ALICE)
    await bench.trainer.run_round()
    before = await bench.head(ALICE)
    for value in (1.0, -1.0):
        await say(bench, e4242=value)
        await bench.trainer.run_round()
        assert await bench.head(ALICE) != before

    await say(bench)
    await bench.trainer.run_round()

    assert await bench.head(ALICE) == before


async def test_what_is_said_while_a_round_reads_is_learnt_by_the_next(bench, monkeypatch):
    await party(bench, ALICE)
    read = bench.store.learning.emoji_of_guilds

    async def read_then_changed():
        found = await read()
        await say(bench, e4242=1.0)
        return found

    monkeypatch.setattr(bench.store.learning, "emoji_of_guilds", read_then_changed)
    await bench.trainer.run_round()
    monkeypatch.undo()
    late = await n_labels(bench, ALICE)
    await bench.trainer.run_round()

    assert (late, await n_labels(bench, ALICE)) == (1, 2)
