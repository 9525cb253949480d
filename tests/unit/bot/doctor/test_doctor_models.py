"""The doctor's look at what computes: the language model, its server, the device and the encoder."""

from __future__ import annotations

import socket

import pytest
from aiohttp import web

from bot.doctor import Finding, Verdict
from bot.doctor.models import examine_device, examine_encoder, examine_model
from bot.settings import GeneratorSettings
from personalization.settings import LearningSettings
from tests.unit.bot.doctor.findings import serving


async def test_a_model_folder_that_is_not_there_fails(tmp_path):
    finding = await examine_model(GeneratorSettings(model=str(tmp_path / "none"), runtime="transformers"))

    assert finding.verdict is Verdict.FAILED
    assert "none" in finding.said


async def test_a_model_that_the_hub_has_is_announced(tmp_path, monkeypatch):
    finding = await examine_model(GeneratorSettings(model="nobody/no-such-model", runtime="transformers"))

    assert finding == Finding(
        "model",
        Verdict.WARNING,
        "nobody/no-such-model is not on this machine; the first start fetches it from the hub",
    )


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
        ({"error": {"message": "no key"}}, 401, "failed"),
        ({"error": {"message": "no such page"}}, 404, "ok"),
        ("<html>hello</html>", 200, "failed"),
    ],
)
async def test_a_model_server_is_asked_for_its_models(answer, status, verdict):
    async def handle(_request: web.Request) -> web.Response:
        return web.json_response(answer, status=status)

    async with serving(handle) as url:
        settings = GeneratorSettings(kind="openai", model="tiny", base_url=f"{url}/v1", retries=0)
        finding = await examine_model(settings)

    assert finding.verdict.value == verdict


def test_a_device_that_is_not_there_fails():
    missing = [name for name in ("cuda", "mps") if examine_device(name).verdict is Verdict.FAILED]

    assert examine_device("cpu").verdict is Verdict.OK
    assert missing, "no machine has both"


def test_an_encoder_that_is_not_there_fails(tmp_path):
    finding = examine_encoder(LearningSettings(encoder=str(tmp_path / "none"), device="cpu"))

    assert (finding.what, finding.verdict) == ("encoder", Verdict.FAILED)
