"""The example package, installed by pip: the bot answers, ranks, filters and learns with its plug-ins."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from personalization.labels.plugged import source_in
from storage.records import Who
from tests.integration.conftest import opened

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "simpatico-example"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The example package in a folder of its own on ``sys.path``."""
    source, target = tmp_path / "source", tmp_path / "site"
    shutil.copytree(EXAMPLE, source)  # a build writes beside the source
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", str(target), str(source)],
        check=True,
        timeout=240,
    )
    monkeypatch.syspath_prepend(str(target))
    importlib.invalidate_caches()
    source_in.cache_clear()
    yield
    source_in.cache_clear()


@pytest.fixture
def with_plugins(settings):
    return replace(
        settings,
        generator=replace(settings.generator, kind="plugin:echo", model="Psst"),
        personalization=replace(
            settings.personalization, encoder="plugin:words", label_source="plugin:hearts", fit_starter=False
        ),
        safety=replace(settings.safety, filters=("plugin:no-shouting",)),
    )


async def test_the_bot_runs_with_the_example_of_each_kind(installed, with_plugins):
    async with opened(with_plugins, generator=None, encoder=None) as world:
        await world.agree(world.alice)
        reply = await world.ask(world.alice, "hello there")
        assert reply.content.startswith("Psst, in the manner ")
        assert world.house.parts.encoder_name == "plugin:words/words-1"

        await world.alice.react(reply, "❤️")
        await world.house.trainer.run_round()
        member_id = world.house.store.member_id(Who(world.guild.id, world.alice.id))
        assert list((await world.house.parts.taste.labels_of(member_id)).weight) == [2.0]

        shouted = await world.ask(world.alice, "HELLO THERE EVERYBODY IN THIS SERVER " * 5)
        assert "HELLO" not in shouted.content
