"""``simpatico models`` and a start with a model of the catalogue, downloaded from a small hub on loopback."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.catalogue import LANGUAGE_MODELS, MODEL_VARIABLE
from bot.config import load_settings
from bot.doctor import Verdict
from bot.doctor.models import examine_model
from bot.generation import Context
from bot.generators.factory import create_generator
from bot.settings import GeneratorSettings
from personalization.encoding.loading import load_encoder
from tests.rig.damaged import write_language_model
from tests.rig.little_hub import LittleHub, little_hub
from tests.tiny_encoder import write_tiny_encoder

SMALL = LANGUAGE_MODELS[1]
CONTENT = b"GGUF" + bytes(2000)


@pytest.fixture
async def hub(monkeypatch, tmp_path):
    """A hub with the GGUF file and the folder of the small model, and with an encoder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(MODEL_VARIABLE, "")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    model, encoder = write_language_model(tmp_path / "model"), write_tiny_encoder(tmp_path / "encoder")
    files = {
        SMALL.gguf.repo: {SMALL.gguf.file: CONTENT},
        SMALL.folder.repo: {path.name: path.read_bytes() for path in model.iterdir()},
        "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2": {
            path.name: path.read_bytes() for path in encoder.iterdir()
        },
    }
    async with little_hub(files) as open_hub:
        open_hub.put_in_place(monkeypatch)
        yield open_hub


async def run(*words: str) -> int:
    return await asyncio.to_thread(main, [*words])


async def test_get_downloads_and_says_how_to_use_it_and_list_shows_it(hub: LittleHub, tmp_path, capsys):
    Path("config.toml").write_text('[generator]\nkind = "openai"\nmodel = "m"\nruntime = "llamacpp"\n')
    assert await run("models", "list") == 0
    before = capsys.readouterr().out
    assert await run("models", "get", "SMALL") == 0
    shown = capsys.readouterr().out
    assert await run("models", "list") == 0
    after = capsys.readouterr().out

    assert "Qwen2.5-1.5B-Instruct is here, whole and verified" in shown
    assert shown.endswith('[generator]\nkind = "local"\nmodel = "qwen2.5-1.5b"\n')
    assert all(one.title in before and one.licence in before for one in LANGUAGE_MODELS)
    assert ("*1.1 / " in before, "*1.1 / " in after) == (False, True)


async def test_the_lines_that_get_prints_are_a_configuration_that_uses_it(hub: LittleHub, tmp_path, capsys):
    Path("config.toml").write_text('[generator]\nruntime = "llamacpp"\n')
    await run("models", "get", "small")
    lines = capsys.readouterr().out.partition("config.toml:\n\n")[2]
    Path("config.toml").write_text(f'{lines}runtime = "llamacpp"\n')
    asked = len(hub.asked)

    assert await run("models") == 0  # what `make models` does
    assert len(hub.asked) == asked


async def test_one_word_is_enough_to_get_and_prepare_it(hub: LittleHub, tmp_path):
    Path("config.toml").write_text('[generator]\nruntime = "llamacpp"\n')

    assert await run("models", "--model", "small") == 0
    assert [name for name, _ in hub.gets()] == [SMALL.gguf.file]


async def test_a_refusal_is_one_line_and_an_exit_code(hub: LittleHub, tmp_path, capsys):
    Path("config.toml").write_text('[generator]\nruntime = "llamacpp"\n')
    hub.gated = "hf_secret"

    assert await run("models", "get", "small") == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"simpatico: the model: {SMALL.gguf.repo} is gated") and "HF_TOKEN" in line


async def test_an_encoder_is_downloaded_and_loads_by_the_printed_line_without_the_hub(
    hub: LittleHub, tmp_path, capsys, monkeypatch
):
    assert await run("models", "get", "multilingual-minilm") == 0
    lines = capsys.readouterr().out.partition("config.toml:\n\n")[2]

    Path("config.toml").write_text(lines)
    name = load_settings(Path("config.toml")).personalization.encoder
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    encoder = await asyncio.to_thread(load_encoder, name, "cpu")
    assert name == "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
    assert encoder.encode(["hello"]).shape == (1, 16)


async def test_the_doctor_announces_a_download_and_does_not_begin_it(hub: LittleHub, tmp_path):
    settings = GeneratorSettings(model="small", runtime="llamacpp", model_dir=tmp_path / "models")
    finding = await examine_model(settings)

    assert finding.verdict is Verdict.WARNING
    assert "Qwen2.5-1.5B-Instruct (1.1 GB) is not on this machine; `simpatico models get" in finding.said
    assert hub.asked == []


async def test_the_folder_of_a_listed_model_loads_and_writes(hub: LittleHub, tmp_path):
    settings = GeneratorSettings(
        model="qwen2.5-1.5b",
        runtime="transformers",
        device="cpu",
        max_new_tokens=8,
        model_dir=tmp_path / "models",
    )
    generator = await asyncio.to_thread(create_generator, settings)
    try:
        await generator.generate(Context("hello"), settings.styles[:1])
    finally:
        await generator.close()

    assert generator.name.startswith("Qwen2.5-1.5B-Instruct")
