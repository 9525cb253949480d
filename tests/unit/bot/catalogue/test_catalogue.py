"""The catalogue is consistent, its names work in the configuration, and a suggestion fits its machine."""

from __future__ import annotations

import re

import pytest

from bot.app.better_model import who_writes
from bot.catalogue import (
    ENCODERS,
    LANGUAGE_MODELS,
    MODEL_VARIABLE,
    Encoder,
    Source,
    find,
    language_model,
    names,
)
from bot.config import load_settings
from bot.doctor.suggestion import LONGEST_S, Machine, examine_choice, suggested
from bot.generation import ModelMissing, name_of_model
from bot.generators.factory import prepare_local_model
from bot.settings import GeneratorSettings

SIZES = ("small", "medium", "large")
SOURCES = [source for one in LANGUAGE_MODELS for source in (one.gguf, one.folder)]


def test_each_name_leads_to_one_entry_and_no_other():
    listed = list(names())

    assert len(set(listed)) == len(listed)
    assert {found.name for name in listed if (found := find(name))} == {
        one.name for one in (*LANGUAGE_MODELS, *ENCODERS)
    }
    assert [find(f" {name.upper()} ") for name in listed] == [find(name) for name in listed]
    assert [find(name) for name in ("", " ", "packaged", "tiny", "Qwen/Qwen3-8B")] == [None] * 5
    assert {language_model(one.name) for one in ENCODERS} == {None}


def test_models_go_from_the_smallest_to_the_largest_and_so_do_the_sizes():
    sizes = [one.billions for one in LANGUAGE_MODELS]

    assert sizes == sorted(sizes) and sizes[0] < 1 and 8 <= sizes[-1] < 9
    assert [one.size for one in LANGUAGE_MODELS if one.size] == list(SIZES)
    assert [one.gguf.gb for one in LANGUAGE_MODELS] == sorted(one.gguf.gb for one in LANGUAGE_MODELS)


@pytest.mark.parametrize("source", [*SOURCES, *(one.folder for one in ENCODERS)], ids=lambda one: one.repo)
def test_each_source_is_a_repository_with_a_size_that_its_kind_can_have(source: Source):
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", source.repo)
    assert source.memory_gb > source.gb > 0
    assert not source.file or (source.file.endswith(".gguf") and "/" not in source.file)
    assert not (source.file and source.gated)  # every one of them can be had without a token


@pytest.mark.parametrize("model", LANGUAGE_MODELS, ids=lambda one: one.name)
def test_sizes_fit_the_number_of_parameters(model):
    assert 0.55 < model.gguf.gb / model.billions < 1.1  # about 4.5 to 8 bits for each
    assert 1.9 < model.folder.gb / model.billions < 2.1  # 16 bits
    assert model.gguf.file and not model.folder.file


@pytest.mark.parametrize("typed", ["smal", "medum", "larg", "qwen3-8", "qwen2.5-05b", "lama3.2-3b"])
@pytest.mark.parametrize("runtime", ["llamacpp", "transformers"])
def test_a_mistyped_name_gets_the_right_one(typed, runtime):
    with pytest.raises(ModelMissing, match="did you mean"):
        prepare_local_model(GeneratorSettings(model=typed, runtime=runtime))


@pytest.mark.parametrize("runtime", ["llamacpp", "transformers"])
def test_an_encoder_in_the_place_of_a_language_model_is_told_its_place(runtime):
    with pytest.raises(ModelMissing, match=r"it is an encoder, so name it in \[personalization\] encoder"):
        prepare_local_model(GeneratorSettings(model=ENCODERS[0].name, runtime=runtime))


@pytest.mark.parametrize("model", ["gpt2", "distilgpt2", "owner/small", "Qwen/Qwen3-8B"])
def test_an_id_of_the_hub_is_no_mistyped_name(model):
    assert prepare_local_model(GeneratorSettings(model=model, runtime="transformers")) == model


@pytest.mark.parametrize("config", ["", '[generator]\nkind = "openai"\nmodel = "m"\nmodels = ["n"]\n'])
@pytest.mark.parametrize(
    ("chosen", "model"),
    [
        ("small", "qwen2.5-1.5b"),
        ("Large", "qwen3-8b"),
        (" qwen3-8b ", "qwen3-8b"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("packaged", "packaged"),
    ],
)
def test_the_environment_overrides_the_model_of_the_file(config, chosen, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(config)
    monkeypatch.setenv(MODEL_VARIABLE, chosen)

    found = load_settings(tmp_path / "config.toml").generator

    assert (found.kind, found.model, found.models) == ("local", model, ())


def test_the_names_of_a_model_server_are_its_own(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[generator]\nkind = "openai"\nmodel = "large"\nmodels = ["small"]\n')

    found = load_settings(path).generator

    assert (found.model, found.models) == ("large", ("small",))
    assert [name_of_model(name) for name in ("large", "small")] == ["large", "small"]


@pytest.mark.parametrize("size", SIZES)
def test_a_size_in_the_file_is_a_model_of_the_catalogue(size, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(f'[generator]\nmodel = "{size}"\n')

    model = load_settings(path).generator.model

    assert (find(model), name_of_model(model)) == (find(size), find(size).title)


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_variable_overrides_nothing(blank, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(MODEL_VARIABLE, blank)

    assert load_settings(None).generator == GeneratorSettings(
        model_dir=load_settings(None).generator.model_dir
    )


def machines() -> list[Machine]:
    speeds = (None, 0.2e9, 1e9, 5e9, 30e9, 200e9)
    memories = (0.5, 2.0, 4.0, 8.0, 16.0, 24.0, 80.0)
    return [Machine(gb, speed is not None, speed) for gb in memories for speed in speeds]


@pytest.mark.parametrize("machine", machines(), ids=str)
def test_a_suggestion_fits_and_nothing_larger_does(machine: Machine):
    found = machine.largest(candidates=4)

    def fits(model) -> bool:
        memory = model.source(on_llamacpp=machine.on_llamacpp).memory_gb
        return memory + 1.0 <= machine.memory_gb and machine.reply_s(model, 4) <= LONGEST_S

    assert found == max(
        (one for one in LANGUAGE_MODELS if fits(one)), key=lambda one: one.billions, default=None
    )
    said = suggested(machine, 4)
    assert (found.name if found else "none of the catalogue fits") in said
    assert ("estimated from" in said) == (machine.weights_per_s is not None)


def test_more_memory_and_more_speed_never_suggest_a_smaller_model():
    def size(gb: float, speed: float) -> float:
        found = Machine(gb, True, speed).largest(4)
        return found.billions if found else 0.0

    steps = [2.0**n for n in range(8)]
    by_memory = [size(gb, 1e12) for gb in steps]
    by_speed = [size(1000.0, gb * 1e9) for gb in steps]

    assert by_memory == sorted(by_memory) and by_memory[-1] > by_memory[1]
    assert by_speed == sorted(by_speed) and by_speed[-1] > by_speed[0]


@pytest.mark.parametrize(
    ("settings", "is_named"),
    [
        (GeneratorSettings(device="cpu"), True),
        (GeneratorSettings(device="cpu", model="qwen3-8b"), True),
        (GeneratorSettings(device="cpu", model="some/model"), False),
        (GeneratorSettings(kind="openai", model="m"), False),
    ],
)
def test_the_doctor_suggests_a_model_where_one_of_ours_would_run(settings, is_named):
    finding = examine_choice(settings)

    assert (finding is not None) == is_named
    assert finding is None or "this machine" in finding.said


@pytest.mark.parametrize("settings", [GeneratorSettings(), GeneratorSettings(model="qwen2.5-1.5b")])
def test_the_playground_names_the_writer_and_the_way_to_a_better_one(settings):
    said = who_writes(settings)

    writer = "SmolLM2-135M-Instruct" if settings.model == "packaged" else "Qwen2.5-1.5B-Instruct"
    assert said.startswith(f"Here writes {writer}") and "simpatico models list" in said
    assert ("make run MODEL=small" in said) == (settings.model == "packaged")


def test_the_playground_names_the_model_of_a_server_without_its_address():
    said = who_writes(GeneratorSettings(kind="openai", model="llama3.2", base_url="http://10.0.0.7/v1"))

    assert said == "Here writes llama3.2, on your model server."


def test_encoders_are_no_language_models():
    assert [isinstance(find(one.name), Encoder) for one in ENCODERS] == [True, True]
