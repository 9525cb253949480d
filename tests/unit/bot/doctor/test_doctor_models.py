"""The doctor's look at what computes: the language model, its server, the device and the encoder."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import web
from safetensors.numpy import load_file, save_file

from bot.doctor import Finding, Verdict
from bot.doctor.models import examine_device, examine_encoder, examine_model
from bot.generation import ModelMissing
from bot.generators.factory import create_generator
from bot.settings import GeneratorSettings
from personalization.settings import LearningSettings
from tests.rig.damaged import write_language_model
from tests.unit.bot.doctor.findings import serving
from tests.unit.bot.generators.scripted_server import said
from tests.unit.bot.generators.server_shapes import saying


async def test_a_model_folder_that_is_not_there_fails(tmp_path):
    finding = await examine_model(GeneratorSettings(model=str(tmp_path / "none"), runtime="transformers"))

    assert finding.verdict is Verdict.FAILED
    assert "none" in finding.said


def put_hub_at(url: str, monkeypatch) -> None:
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@asynccontextmanager
async def hub(monkeypatch, status: int, code: str = ""):
    """A hub on the loopback interface that answers every question alike."""

    async def handle(_request: web.Request) -> web.Response:
        headers = {"X-Error-Code": code, "ETag": '"1"', "X-Repo-Commit": "0" * 40}
        return web.Response(status=status, headers=headers, body=b"" if status == 200 else b"no")

    async with serving(handle) as url:
        put_hub_at(url, monkeypatch)
        yield url


def of_the_hub(name: str = "nobody/no-such-model") -> GeneratorSettings:
    return GeneratorSettings(model=name, runtime="transformers", device="cpu")


async def test_a_model_that_the_hub_has_is_announced(monkeypatch):
    async with hub(monkeypatch, 200):
        finding = await examine_model(of_the_hub())

    assert finding == Finding(
        "model",
        Verdict.WARNING,
        "nobody/no-such-model is not on this machine; the first start fetches it from the hub",
    )


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "GatedRepo", "is gated: accept its licence at https://huggingface.co/nobody/no-such-model"),
        (401, "GatedRepo", "set HF_TOKEN"),
        (401, "RepoNotFound", "not on the hub, or private"),
        (404, "RepoNotFound", "not on the hub, or private"),
        (404, "EntryNotFound", "lacks a file or a revision"),
        (404, "RevisionNotFound", "lacks a file or a revision"),
        (403, "", "the hub refuses nobody/no-such-model (status 403): set HF_TOKEN"),
        (500, "", "answered with status 500"),
    ],
)
async def test_a_refusal_of_the_hub_says_what_to_do(status, code, said, monkeypatch):
    async with hub(monkeypatch, status, code):
        finding = await examine_model(of_the_hub())
        encoder = await asyncio.to_thread(
            examine_encoder, LearningSettings(encoder="nobody/no-such-model", device="cpu")
        )

    assert (finding.verdict, encoder.verdict) == (Verdict.FAILED, Verdict.FAILED)
    assert said in finding.said and said in encoder.said
    assert "\n" not in finding.said


@pytest.mark.parametrize(("status", "code"), [(403, "GatedRepo"), (401, "RepoNotFound")])
async def test_a_start_is_refused_by_the_hub_in_the_same_words(status, code, monkeypatch):
    async with hub(monkeypatch, status, code):
        finding = await examine_model(of_the_hub())
        with pytest.raises(ModelMissing) as refused:
            await asyncio.to_thread(create_generator, of_the_hub())

    assert str(refused.value).partition("; or ")[0] in finding.said.replace(
        "the model:", "the language model:"
    )


async def test_a_hub_that_cannot_be_reached_or_asked_is_told(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        put_hub_at(f"http://127.0.0.1:{taken.getsockname()[1]}", monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    unreachable = await examine_model(of_the_hub())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = await examine_model(of_the_hub())

    assert "the hub could not be reached (ConnectError)" in unreachable.said
    assert "HF_HUB_OFFLINE forbids to fetch it" in offline.said


async def test_the_packaged_model_is_hashed():
    finding = await examine_model(GeneratorSettings(runtime="transformers"))

    assert (finding.verdict, "is whole" in finding.said) == (Verdict.OK, True)


async def test_a_model_server_that_is_not_there_fails():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = GeneratorSettings(
        kind="openai", model="tiny", base_url=f"http://127.0.0.1:{port}/v1", retries=0
    )

    finding = await examine_model(settings)

    assert finding.verdict is Verdict.FAILED
    assert "cannot be reached" in finding.said


@pytest.mark.parametrize(
    ("answer", "status", "verdict"),
    [
        ({"object": "list", "data": [{"id": "tiny:latest", "object": "model"}]}, 200, "ok"),
        ({"object": "list", "data": [{"id": "other", "object": "model"}]}, 200, "warning"),
        ({"error": {"message": "this key may not list models"}}, 403, "ok"),
        ({"error": {"message": "no such page"}}, 404, "ok"),
        ({"error": {"message": "not implemented"}}, 501, "ok"),
        ("<html>hello</html>", 200, "ok"),
    ],
)
async def test_the_reply_decides_and_the_list_of_models_is_a_hint(answer, status, verdict):
    async def handle(request: web.Request) -> web.Response:
        if request.path.endswith("/chat/completions"):
            return said("Hello.")
        return web.json_response(answer, status=status)

    async with serving(handle) as url:
        settings = GeneratorSettings(kind="openai", model="tiny", base_url=f"{url}/v1", retries=0)
        finding = await examine_model(settings)

    assert finding.verdict.value == verdict


@pytest.mark.parametrize("listed", ["tiny", "other"])
async def test_a_model_server_whose_answer_holds_no_reply_fails_with_the_reason(listed):
    """Whatever the list says: a proxy that lists nothing may write, and one that lists the model may not."""

    async def handle(request: web.Request) -> web.Response:
        if request.path.endswith("/chat/completions"):
            return web.json_response(saying(None, reasoning_content="I think."))
        return web.json_response({"object": "list", "data": [{"id": listed, "object": "model"}]})

    async with serving(handle) as url:
        settings = GeneratorSettings(kind="openai", model="tiny", base_url=f"{url}/v1", retries=0)
        finding = await examine_model(settings)

    assert finding.verdict is Verdict.FAILED
    assert (
        "only thought and gave no answer; raise [generator] thinking_tokens, or switch its thinking off"
        in finding.said
    )
    assert ("lists 1 model, but not tiny" in finding.said) == (listed == "other")


async def test_a_further_model_that_the_server_does_not_list_is_named():
    async def handle(request: web.Request) -> web.Response:
        if request.path.endswith("/chat/completions"):
            return said("Hello.")
        return web.json_response({"object": "list", "data": [{"id": "tiny"}, {"id": "large"}]})

    async with serving(handle) as url:
        settings = GeneratorSettings(
            kind="openai", model="tiny", models=("large", "vast"), base_url=f"{url}/v1", retries=0
        )
        finding = await examine_model(settings)

    assert finding.verdict is Verdict.WARNING
    assert finding.said.endswith("lists 2 models, but not vast: check [generator] model and models")


async def test_a_model_server_that_lists_its_models_but_writes_nothing_fails():
    async def handle(request: web.Request) -> web.Response:
        if request.path.endswith("/chat/completions"):
            return web.json_response({"error": {"message": "no"}}, status=500)
        return web.json_response({"object": "list", "data": [{"id": "tiny", "object": "model"}]})

    async with serving(handle) as url:
        settings = GeneratorSettings(kind="openai", model="tiny", base_url=f"{url}/v1", retries=0)
        finding = await examine_model(settings)

    assert (finding.verdict, "HTTP status 500" in finding.said) == (Verdict.FAILED, True)


async def test_a_model_that_writes_for_too_long_is_a_warning(monkeypatch):
    async def handle(request: web.Request) -> web.Response:
        if request.path.endswith("/chat/completions"):
            await asyncio.sleep(5)
        return web.json_response({"object": "list", "data": []})

    monkeypatch.setattr("bot.doctor.models.REPLY_S", 0.2)
    told: list[str] = []
    async with serving(handle) as url:
        settings = GeneratorSettings(kind="openai", model="tiny", base_url=f"{url}/v1", retries=0)
        finding = await examine_model(settings, told.append)

    assert (finding.verdict, "no reply within 0.2 s" in finding.said) == (Verdict.WARNING, True)
    assert told == ["waiting for one reply, up to 0.2 s"]


async def test_weights_that_are_no_numbers_fail_when_the_model_writes(tmp_path):
    write_language_model(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: np.full_like(w, np.nan) for name, w in weights.items()},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )

    finding = await examine_model(GeneratorSettings(model=str(tmp_path), device="cpu", max_new_tokens=8))

    assert finding.verdict is Verdict.FAILED
    assert str(tmp_path) in finding.said and "\n" not in finding.said


def test_a_device_that_is_not_there_fails():
    missing = [name for name in ("cuda", "mps") if examine_device(name).verdict is Verdict.FAILED]

    assert examine_device("cpu").verdict is Verdict.OK
    assert missing, "no machine has both"


def test_an_encoder_that_is_not_there_fails(tmp_path):
    finding = examine_encoder(LearningSettings(encoder=str(tmp_path / "none"), device="cpu"))

    assert (finding.what, finding.verdict) == ("encoder", Verdict.FAILED)
