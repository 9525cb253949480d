"""A host copies a model badly: the doctor and the start refuse it alike, in one line that names the file.

Every damage of ``tests/rig/damaged.py`` is done to a folder of every kind of model. The doctor and the
loading of a start must both refuse, with the same line. Control: without the check of the weights, damaged
folders load; without the check of the files, the line does not name the file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.doctor import Finding, Verdict
from bot.doctor.models import examine_encoder, examine_model, examine_toxicity
from bot.generation import GeneratorError
from bot.generators.factory import create_generator
from bot.generators.model_files import SMOLLM2, locate
from bot.moderation import ToxicityError
from bot.moderation.toxicity import load_judge
from bot.settings import GeneratorSettings, SafetySettings
from personalization import loading_errors
from personalization.encoding.loading import load_encoder
from personalization.errors import PersonalizationError
from personalization.settings import LearningSettings
from tests.rig.damaged import DAMAGES, GGUF_DAMAGES, write_classifier, write_language_model
from tests.tiny_encoder import write_tiny_encoder

REFUSALS = (GeneratorError, PersonalizationError, ToxicityError)


@dataclass(frozen=True)
class Kind:
    write: Callable[[Path], Path]
    start: Callable[[Path], object]
    doctor: Callable[[Path], object]


def written_by(folder: Path) -> GeneratorSettings:
    return GeneratorSettings(model=str(folder), device="cpu", max_new_tokens=8, context_tokens=128)


def judged_by(folder: Path) -> SafetySettings:
    return SafetySettings(toxicity_model=str(folder), device="cpu")


KINDS = {
    "language model": Kind(
        write_language_model,
        lambda folder: create_generator(written_by(folder)),
        lambda folder: examine_model(written_by(folder)),
    ),
    "encoder": Kind(
        write_tiny_encoder,
        lambda folder: load_encoder(str(folder), "cpu"),
        lambda folder: examine_encoder(LearningSettings(encoder=str(folder), device="cpu")),
    ),
    "toxicity model": Kind(
        write_classifier,
        lambda folder: load_judge(judged_by(folder)),
        lambda folder: examine_toxicity(judged_by(folder)),
    ),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    return {name: kind.write(folder / name.replace(" ", "-")) for name, kind in KINDS.items()}


async def found(kind: Kind, folder: Path) -> Finding:
    finding = kind.doctor(folder)
    return finding if isinstance(finding, Finding) else await finding


@pytest.mark.parametrize("name", KINDS)
async def test_a_sound_folder_passes(name, sound):
    finding = await found(KINDS[name], sound[name])

    assert finding.verdict is not Verdict.FAILED, finding.said
    KINDS[name].start(sound[name])


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", KINDS)
async def test_a_damaged_folder_is_refused_by_both_in_one_line_that_names_the_file(
    name, damage, sound, tmp_path
):
    folder = tmp_path / "model"
    shutil.copytree(sound[name], folder)
    damage.change(folder)

    with pytest.raises(REFUSALS) as refused:
        KINDS[name].start(folder)
    finding = await found(KINDS[name], folder)

    said = str(refused.value)
    assert (finding.verdict, finding.said) == (Verdict.FAILED, said)
    assert "\n" not in said and len(said) < 700
    assert str(folder) in said and (damage.names or "") in said
    assert damage.says in said.lower()


@pytest.mark.parametrize("damage", ["weights of another model", "weights without one layer"])
@pytest.mark.parametrize("name", KINDS)
def test_control_without_the_check_of_the_weights_half_a_model_loads(
    name, damage, sound, tmp_path, monkeypatch
):
    folder = tmp_path / "model"
    shutil.copytree(sound[name], folder)
    DAMAGES[damage].change(folder)
    for home in ("bot.generators.local", "bot.moderation.toxicity", "personalization.encoding.encoder"):
        monkeypatch.setattr(f"{home}.check_complete", lambda *_, **__: None)

    KINDS[name].start(folder)


def test_control_without_the_check_of_the_files_the_line_does_not_name_the_file(sound, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(sound["encoder"], folder)
    DAMAGES["a shard cut short"].change(folder)
    monkeypatch.setattr(loading_errors, "check_folder", lambda _: None)

    with pytest.raises(PersonalizationError) as refused:
        load_encoder(str(folder), "cpu")

    assert DAMAGES["a shard cut short"].names not in str(refused.value)


@pytest.mark.parametrize("damage", GGUF_DAMAGES.values(), ids=GGUF_DAMAGES)
async def test_a_damaged_gguf_file_is_refused_by_both_in_one_line(damage, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(damage.change(locate(SMOLLM2).read_bytes()))
    settings = GeneratorSettings(model=str(path), device="cpu", runtime="llamacpp")

    with pytest.raises(GeneratorError) as refused:
        create_generator(settings)
    finding = await examine_model(settings)

    said = str(refused.value)
    assert (finding.verdict, finding.said) == (Verdict.FAILED, said)
    assert "\n" not in said and str(path) in said
    assert damage.says in said.lower()
