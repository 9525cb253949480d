"""The fit of a starter in the background: a real process, which is killed, fails, and starts again."""

from __future__ import annotations

import asyncio
import errno
import logging
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from bot.background.starter_fitting import StarterFitting
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.heads.heads import Prior, starter_prior
from personalization.heads.kept_starter import KeptStarter
from personalization.settings import LearningSettings
from tests.judgement_sets import DATA, bots
from tests.tiny_encoder import write_tiny_encoder

pytestmark = pytest.mark.slow


class Bot:
    """What a fitting gets of a bot."""

    def __init__(
        self, encoder: Path, folder: Path, sets: list[Path] | None, *, fits=True, leads=True
    ) -> None:
        self.published: list[tuple[Prior, bool]] = []
        self.due: list[str] = []
        self.leads = leads
        self.kept = KeptStarter(folder, FeatureMap(load_encoder(str(encoder), "cpu")))
        self.fitting = StarterFitting(
            str(encoder), "cpu", self.kept, fits=fits, lead=self.lead, publish=self.publish, sets=sets
        )
        self.fitting.mark_due = lambda *works: self.due.extend(works)

    async def lead(self) -> bool:
        return self.leads

    async def publish(self, prior: Prior, store: bool) -> bool:
        self.published.append((prior, store))
        return len(self.published) == 1

    async def ended(self, within_s: float = 280.0) -> None:
        """Wait until no process fits."""
        async with asyncio.timeout(within_s):
            while len(self.fitting._tasks):
                await asyncio.sleep(0.1)

    async def progress(self, within_s: float = 280.0) -> None:
        """Wait until the process tells its progress."""
        async with asyncio.timeout(within_s):
            while not (self.kept.told() or "").endswith("%"):
                await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> list[Path]:
    return [bots(tmp_path_factory.mktemp("sets")), DATA / "made_up_thumbs"]


async def test_a_missing_starter_is_fitted_by_a_process_and_then_published(encoder, sets, tmp_path, caplog):
    caplog.set_level(logging.INFO, "bot.background.starter_fitting")
    bot = Bot(encoder, tmp_path, sets)
    began_s = time.monotonic()
    await bot.fitting.run()
    took_s = time.monotonic() - began_s
    await bot.fitting.run()  # the next hour: it still fits
    assert (bot.published, len(bot.fitting._tasks)) == ([], 1)

    await bot.ended()
    due = list(bot.due)
    await bot.fitting.run()

    assert took_s < 10, "the job does not wait for the fit"
    assert (due, bot.due) == (["starter"], ["starter", "prior", "round"])
    [(prior, stored)] = bot.published
    assert prior.feature_id == bot.kept.features.feature_id and stored
    assert abs(prior.mean).max() > 0
    assert "once, in the background" in caplog.messages[0] and "is fitted, after" in caplog.messages[-1]


async def test_a_killed_process_is_told_and_not_started_again_at_once(encoder, tmp_path, caplog):
    bot = Bot(encoder, tmp_path, None)  # the sets that ship: it would take long
    await bot.fitting.run()
    await bot.progress()

    [child] = [one for one in multiprocessing.active_children() if one.name == "starter"]
    os.kill(child.pid, signal.SIGKILL)
    await bot.ended()
    await bot.fitting.run()

    assert len(bot.fitting._tasks) == 0, "it waits for the next day or the next start"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "ended with -9" in caplog.text
    assert bot.kept.told().startswith("failed: the process ended with -9 at ")


async def test_a_failure_is_told_with_its_reason(encoder, tmp_path, caplog):
    bot = Bot(encoder, tmp_path, [tmp_path / "none"])

    await bot.fitting.run()
    await bot.ended()

    assert "No starter prior was fitted (expected dataset.json" in caplog.text
    assert bot.kept.told().startswith("failed: expected dataset.json")
    assert bot.due == []


async def test_a_failure_before_the_fit_begins_is_told_with_its_reason(encoder, tmp_path, caplog):
    bot = Bot(encoder, tmp_path / "starters", None)
    unwritable = Bot(encoder, tmp_path / "file" / "starters", None)
    (tmp_path / "file").write_text("no folder")
    copy = tmp_path / "encoder"
    shutil.copytree(encoder, copy)
    next(copy.rglob("*.safetensors")).write_bytes(b"damaged")
    bot.fitting._arguments = (str(copy), *bot.fitting._arguments[1:])

    for one in (bot, unwritable):
        await one.fitting.run()
        await one.ended()

    damaged, below_a_file = caplog.messages
    assert str(copy) in damaged and "the process ended" not in damaged
    assert "starters to be writable" in below_a_file
    assert bot.kept.told().startswith("failed: ")


async def test_a_starter_that_cannot_be_read_now_is_neither_deleted_nor_fitted_again(
    encoder, tmp_path, caplog, monkeypatch
):
    bot = Bot(encoder, tmp_path, None)
    path = bot.kept.keep(starter_prior(bot.kept.features, LearningSettings()).to_bytes())

    def unreadable(self: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as passing:
        passing.setattr(Path, "read_bytes", unreadable)
        await bot.fitting.run()
    assert (len(bot.fitting._tasks), path.exists()) == (0, True)
    assert "Too many open files" in caplog.text

    await bot.fitting.run()
    assert len(bot.published) == 1


@pytest.mark.parametrize(("fits", "leads"), [(False, True), (True, False)], ids=["switched off", "follower"])
async def test_nothing_is_fitted_where_it_shall_not_be(encoder, sets, tmp_path, fits, leads):
    bot = Bot(encoder, tmp_path, sets, fits=fits, leads=leads)

    await bot.fitting.run()

    assert len(bot.fitting._tasks) == 0
    assert not (tmp_path / "encodings").exists()


async def test_every_process_publishes_a_kept_starter_and_the_one_that_trains_stores_it(encoder, tmp_path):
    trains, follows = Bot(encoder, tmp_path, None, fits=False), Bot(encoder, tmp_path, None, leads=False)
    starter = starter_prior(trains.kept.features, LearningSettings())
    trains.kept.keep(starter.to_bytes())

    await trains.fitting.run()
    await follows.fitting.run()

    assert [stored for _, stored in trains.published + follows.published] == [True, False]
