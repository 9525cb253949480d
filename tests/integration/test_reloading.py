"""Reloading: a running bot applies the changes of its configuration that it can, and names the others."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from bot.app.config_reload import Reloaded, Reloader, put_into_use
from bot.config import load_settings
from bot.generators.packaged_model.manner import PERSONA
from bot.moderation.output_filter import Level, Rules
from storage.servers.safety_rules import NOTHING_DECIDED
from tests.integration.conftest import opened

SAME = """
[storage]
data_dir = "data"
key_dir = "keys"
group_commit_ms = 1
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(SAME + '[personalization]\npolicy = "greedy"\n')
    return path


@pytest.fixture
async def running(file):
    """Open a bot with the configuration file; yield it with its reloader."""
    settings = load_settings(file)
    async with opened(settings) as world:
        yield world, Reloader(lambda: file, settings, lambda new: put_into_use(new, world.house, world.bot))


async def test_what_can_change_does_at_once(running, file):
    world, reloader = running
    file.write_text(
        SAME
        + '[bot]\nseeded_reactions = ["🎉"]\n'
        + '[generator]\npersona = "You are a very old lighthouse keeper."\n'
        + 'styles = [{ name = "salty", instruction = "Answer like the sea.", temperature = 1.0 }]\n'
        + '[safety]\nlevel = "strict"\nblocked_terms = ["kraken"]\n'
        + '[personalization]\npolicy = "ucb"\n'
    )

    reloaded = reloader.reload()
    world.generator.enqueue("You are a very old lighthouse keeper.")
    leaked = await world.ask(world.alice)
    reply = await world.ask(world.alice)

    assert reloaded == Reloaded(
        (
            "[bot] seeded_reactions",
            "[generator] persona",
            "[generator] styles",
            "[safety] level",
            "[safety] blocked_terms",
            "[personalization] policy",
        ),
        (),
    )
    assert world.generator.persona == "You are a very old lighthouse keeper."
    assert [str(reaction.emoji) for reaction in reply.reactions] == ["🎉"]
    assert "lighthouse" not in leaked.content
    assert world.house.ranker._policy.name.startswith("ucb")
    assert world.bot.responder._styles[0].name == "salty"
    assert world.bot.responder.source.rules_for(NOTHING_DECIDED) == Rules(Level.STRICT, ("kraken",))


async def test_what_waits_for_a_restart_is_named_in_one_line_without_its_value(running, file, caplog):
    world, reloader = running
    file.write_text(
        SAME
        + 'retention_days = 5\n[generator]\nkind = "openai"\nbase_url = "http://10.1.2.3/v1"\nmodel = "m"\n'
        + '[personalization]\npolicy = "greedy"\nexploration = 0.5\n'
    )

    with caplog.at_level(logging.WARNING):
        reloader.reload()

    assert world.generator.persona == PERSONA  # of the packaged model, which stays until the restart
    assert [record.getMessage() for record in caplog.records] == [
        "configuration read again; in use now: [personalization] exploration; waits for a restart: "
        "[generator] kind, [generator] model, [generator] base_url, [storage] retention_days"
    ]
    assert (await world.ask(world.alice)).content in world.generator.default


async def test_chat_channels_wait_for_the_intent_to_read_them(running, file):
    _world, reloader = running
    file.write_text(
        SAME + '[bot]\nchat_channels = [5]\nmessage_content = true\n[personalization]\npolicy = "greedy"\n'
    )

    assert reloader.reload() == Reloaded((), ("[bot] chat_channels", "[bot] message_content"))


async def test_chat_channels_change_at_once_where_messages_can_be_read(file):
    with_intent = '[bot]\nmessage_content = true\n[personalization]\npolicy = "greedy"\n'
    file.write_text(SAME + with_intent)
    settings = load_settings(file)
    async with opened(settings) as world:
        reloader = Reloader(lambda: file, settings, lambda new: put_into_use(new, world.house, world.bot))
        await world.alice.send(world.channel, "nobody is asked")
        before = world.channel.last_message.content
        file.write_text(SAME + with_intent.replace("true\n", f"true\nchat_channels = [{world.channel.id}]\n"))

        reloader.reload()
        await world.alice.send(world.channel, "and now?")

        assert before == "nobody is asked"
        assert world.channel.last_message.content in world.generator.default


@pytest.mark.parametrize("text", ["[bot\n", "[bot]\nno_such_key = 1\n", None])
async def test_a_file_that_cannot_be_read_changes_nothing(running, file, caplog, text):
    _world, reloader = running
    before = reloader.settings
    file.unlink() if text is None else file.write_text(text)

    with caplog.at_level(logging.WARNING):
        assert reloader.reload() is None

    assert reloader.settings == before
    assert len(caplog.records) == 1


async def test_an_unchanged_file_is_not_read_again(running, file):
    _world, reloader = running

    first = reloader.look()
    file.write_text(SAME + '[personalization]\npolicy = "epsilon"\n')
    second, third = reloader.look(), reloader.look()

    assert (first, third) == (None, None)
    assert second == Reloaded(("[personalization] policy",), ())


async def test_a_hangup_signal_reloads(running, file):
    world, reloader = running
    async with reloader.listening():
        file.write_text(SAME + '[personalization]\npolicy = "thompson"\n')
        os.kill(os.getpid(), signal.SIGHUP)
        while not world.house.ranker._policy.name.startswith("thompson"):
            await asyncio.sleep(0.01)

    assert reloader.settings.personalization.policy == "thompson"
    assert asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP) is False
