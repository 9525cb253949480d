"""A bot with an encoder for which no starter ships: it ranks at once, and takes a fitted one in use later."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bot.app.composition import House, open_house
from bot.config import Settings, parse_settings
from bot.doctor import Verdict
from bot.doctor.models import examine_starter
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.heads import kept_starter
from personalization.heads.heads import Prior, starter_prior
from personalization.heads.kept_starter import KeptStarter
from personalization.settings import LearningSettings
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.tiny_encoder import write_tiny_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def settings(encoder, tmp_path, empty_store) -> Settings:
    empty_store(tmp_path)
    return parse_settings(
        {
            "storage": {"data_dir": str(tmp_path / "data"), "key_dir": str(tmp_path / "keys")},
            "generator": {"model_dir": str(tmp_path / "models")},
            "personalization": {"device": "cpu", "encoder": str(encoder)},
        }
    )


def kept_of(settings: Settings) -> KeptStarter:
    encoder = load_encoder(settings.personalization.encoder, "cpu")
    return KeptStarter(settings.generator.starter_dir, FeatureMap(encoder))


def a_starter(kept: KeptStarter) -> Prior:
    plain = starter_prior(kept.features, LearningSettings(loud_sd=0))
    return replace(plain, mean=np.linspace(-1, 1, plain.dim).astype(np.float32))


def opened(settings: Settings, executor=None, **parts):
    return open_house(settings, generator=ScriptedGenerator(), trainer_executor=executor, seed=0, **parts)


async def stored(house: House) -> bytes:
    async with asyncio.timeout(60):
        while (record := await house.store.learning.prior()) is None:
            await asyncio.sleep(0.1)
    return record.body


@pytest.mark.slow  # starts a process
async def test_the_bot_ranks_while_the_starter_is_fitted_and_a_stop_ends_the_fit(settings):
    async with opened(settings) as house:
        house.scheduler.start()
        kept = kept_of(settings)
        async with asyncio.timeout(280):
            while not kept.is_being_fitted():
                await asyncio.sleep(0.05)
        during = await asyncio.wait_for(house.ranker.rank(None, "tea?", ["hot tea", "iced jam"]), 20)
        said = examine_starter(settings.personalization, settings.generator.starter_dir)

    assert during.prior_scores[0] == pytest.approx(during.relevance[0], abs=1e-5), "relevance alone"
    assert (said.verdict, "in the background" in said.said) == (Verdict.OK, True)
    assert not kept.is_being_fitted()
    assert kept.path() is None


async def test_a_kept_starter_answers_from_the_start_and_is_stored_for_other_processes(settings):
    kept = kept_of(settings)
    kept.keep(a_starter(kept).to_bytes())

    async with opened(settings) as house:
        from_the_start = house.ranker.prior.mean
        house.scheduler.start()
        body = await stored(house)

    np.testing.assert_array_equal(from_the_start, a_starter(kept).mean)
    space = kept.features
    found = Prior.from_bytes(body, feature_id=space.feature_id, dim=space.dim)
    np.testing.assert_array_equal(found.mean, a_starter(kept).mean)
    said = examine_starter(settings.personalization, settings.generator.starter_dir)
    assert (said.verdict, "fitted for this encoder" in said.said) == (Verdict.OK, True)


async def test_without_a_starter_of_its_own_an_encoder_has_no_such_job(settings):
    async with opened(settings, encoder=HashEncoder()) as house:
        assert "starter" not in house.scheduler._works
    packaged = replace(settings, personalization=LearningSettings(device="cpu"))
    async with opened(packaged) as house:
        assert "starter" not in house.scheduler._works


def test_the_doctor_says_what_is_missing(settings):
    off = replace(settings.personalization, fit_starter=False)
    folder = settings.generator.starter_dir

    missing, switched_off = (examine_starter(one, folder) for one in (settings.personalization, off))
    kept_of(settings).tell_failure("expected some set, found none")
    after_a_failure = examine_starter(settings.personalization, folder)

    assert missing.verdict is Verdict.OK
    assert {one.verdict for one in (switched_off, after_a_failure)} == {Verdict.WARNING}
    assert "the bot fits one in the background" in missing.said
    assert "simpatico fit-starter" in switched_off.said
    assert "found none" in after_a_failure.said
    assert examine_starter(LearningSettings(), folder) is None


def test_the_doctor_says_how_the_last_fit_ended_and_what_is_wrong_with_the_file(settings, monkeypatch):
    kept, folder = kept_of(settings), settings.generator.starter_dir

    def said() -> tuple[Verdict, str]:
        found = examine_starter(settings.personalization, folder)
        return found.verdict, found.said

    with pytest.raises(KeyboardInterrupt), kept.locked() as tell:
        assert said()[0] is Verdict.OK and "0%" in said()[1]
        tell("37%")
        raise KeyboardInterrupt
    cut_off = said()
    with kept.locked():
        path = kept.keep(a_starter(kept).to_bytes())
    assert said() == (Verdict.OK, f"fitted for this encoder: {path}")
    with monkeypatch.context() as passing:
        passing.setattr(Path, "read_bytes", unreadable)
        cannot_be_read = said()
    with monkeypatch.context() as upgraded:
        upgraded.setattr(kept_starter, "FITTED_BY", "later")
        of_another_recipe = said()
    path.write_bytes(b"damaged")
    damaged = said()
    path.unlink()
    gone = said()

    for (verdict, text), part in (
        (cut_off, "the last fit was cut off at 37%"),
        (cannot_be_read, "Too many open files"),
        (damaged, "to have the hash in its name"),
        (gone, "its file is gone"),
    ):
        assert (verdict, part in text, "done" in text) == (Verdict.WARNING, True, False), text
    assert of_another_recipe == (
        Verdict.OK,
        "none for this encoder yet; the bot fits one in the background",
    )


def test_the_doctor_names_a_folder_in_which_no_starter_can_be_kept(settings, tmp_path):
    (tmp_path / "file").write_text("no folder")

    found = examine_starter(settings.personalization, tmp_path / "file" / "starters")

    assert found.verdict is Verdict.WARNING
    assert f"expected a folder at {tmp_path / 'file'}" in found.said


def unreadable(self: Path) -> bytes:
    if self.suffix == ".safetensors" and self.parent.name == "starters":
        raise OSError(errno.EMFILE, "Too many open files")
    with self.open("rb") as file:
        return file.read()
