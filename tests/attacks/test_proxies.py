"""Proxies of the environment: used on the way to the hub, never on the way to this machine.

The proxy, the hub and its certificate are real and on the loopback interface; so are the libraries that ask.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from huggingface_hub import close_session

from bot.config import load_settings
from bot.doctor import Finding, Verdict
from bot.doctor.models import examine_encoder
from personalization.encoding.loading import load_encoder
from personalization.settings import LearningSettings
from tests.rig.certificates import write_certificate
from tests.rig.proxying import NAMES, proxying
from tests.tiny_encoder import write_tiny_encoder

DEPLOY = Path(__file__).parents[2] / "deploy"
HUB = "hub.invalid"
NAME = "somebody/tiny"
ON_THE_HUB = Finding(
    "encoder", Verdict.WARNING, f"{NAME} is not on this machine; the first start fetches it from the hub"
)


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No proxy at first, and nothing fetched; what a test sets is forgotten by the hub's library."""
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.setenv(name.lower(), "")
        monkeypatch.delenv(name)
        monkeypatch.delenv(name.lower())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    close_session()
    yield
    close_session()


@asynccontextmanager
async def hub(folder: Path, tls: ssl.SSLContext | None = None):
    """Yield the port of a hub that has the files of a folder."""
    headers = {"X-Repo-Commit": "0" * 40}

    async def answer(request: web.Request) -> web.Response:
        path = folder / request.path.rpartition("/")[2]
        if "/resolve/" not in request.path or not path.is_file():
            return web.json_response({}, status=404, headers={"X-Error-Code": "EntryNotFound"})
        return web.Response(body=path.read_bytes(), headers=headers | {"ETag": f'"{path.name}"'})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def put_hub_at(url: str, monkeypatch) -> None:
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


async def asked() -> Finding:
    return await asyncio.to_thread(examine_encoder, LearningSettings(encoder=NAME, device="cpu"))


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_a_hub_without_tls_is_asked_through_the_proxy(name, monkeypatch, tmp_path):
    put_hub_at(f"http://{HUB}", monkeypatch)
    async with hub(write_tiny_encoder(tmp_path / "files")) as port, proxying(routes={HUB: port}) as proxy:
        monkeypatch.setenv(name, proxy.url)
        finding = await asked()

    assert (finding, proxy.hosts) == (ON_THE_HUB, {HUB})


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
async def test_a_hub_with_tls_is_asked_through_a_tunnel_of_the_proxy(name, monkeypatch, tmp_path):
    put_hub_at(f"https://{HUB}", monkeypatch)
    certificate, key = write_certificate(tmp_path, HUB)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    async with (
        hub(write_tiny_encoder(tmp_path / "files"), tls) as port,
        proxying(routes={HUB: port}) as proxy,
    ):
        monkeypatch.setenv(name, proxy.url.replace("//", "//us%40er:pass@"))
        finding = await asked()

    assert (finding, set(proxy.asked)) == (ON_THE_HUB, {f"CONNECT {HUB}:443"})
    assert set(proxy.credentials) == {"Basic dXNAZXI6cGFzcw=="}


async def test_a_model_comes_whole_through_the_proxy(monkeypatch, tmp_path):
    put_hub_at(f"http://{HUB}", monkeypatch)
    async with hub(write_tiny_encoder(tmp_path / "files")) as port, proxying(routes={HUB: port}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        encoder = await asyncio.to_thread(load_encoder, NAME, "cpu")

    assert encoder.encode(["hello"]).shape == (1, 16)
    assert proxy.hosts == {HUB}


@pytest.mark.parametrize("refusal", [403, 407, 502])
async def test_a_proxy_that_refuses_the_hub_is_one_line(refusal, monkeypatch):
    put_hub_at(f"https://{HUB}", monkeypatch)
    async with proxying(refusal=refusal) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:pass-word@"))
        finding = await asked()

    assert (finding.verdict, proxy.hosts) == (Verdict.FAILED, {HUB})
    assert "the hub could not be reached (ProxyError): check the name" in finding.said
    assert "pass-word" not in finding.said


@pytest.mark.parametrize(
    "address",
    ["socks5://user:pass-word@h:1", "ftp://user:pass-word@h", "http://user:pass-word@[::1", "http://h:x"],
)
async def test_a_proxy_that_cannot_be_used_is_one_line_and_names_the_variables(address, monkeypatch):
    put_hub_at(f"https://{HUB}", monkeypatch)
    monkeypatch.setenv("ALL_PROXY", address)

    finding = await asked()

    assert finding.verdict is Verdict.FAILED
    assert ("socksio" if "socks" in address else "HTTP_PROXY, HTTPS_PROXY and ALL_PROXY") in finding.said
    assert "pass-word" not in finding.said
    assert "\n" not in finding.said


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("others", [None, "", "example.org, 10.0.0.1", "*"])
async def test_a_hub_on_this_machine_is_never_asked_through_a_proxy(host, others, monkeypatch, tmp_path):
    async with hub(write_tiny_encoder(tmp_path / "files")) as port, proxying() as proxy:
        put_hub_at(f"http://{host}:{port}", monkeypatch)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        if others is not None:
            monkeypatch.setenv("NO_PROXY", others)
        load_settings(None)
        finding = await asked()

    assert (finding, proxy.asked) == (ON_THE_HUB, [])


async def test_control_a_library_alone_asks_the_proxy_for_this_machine(monkeypatch, tmp_path):
    async with hub(write_tiny_encoder(tmp_path / "files")) as port, proxying() as proxy:
        put_hub_at(f"http://127.0.0.1:{port}", monkeypatch)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        finding = await asked()

    assert (finding.verdict, proxy.hosts) == (Verdict.FAILED, {"127.0.0.1"})


@pytest.mark.parametrize("hosts", [HUB, "invalid", f"example.org, {HUB}"])
async def test_a_hub_that_no_proxy_names_is_asked_directly(hosts, monkeypatch):
    put_hub_at(f"https://{HUB}", monkeypatch)
    async with proxying() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("no_proxy", hosts)
        load_settings(None)
        finding = await asked()

    assert "the hub could not be reached (ConnectError)" in finding.said
    assert proxy.asked == []


def health_check() -> list[str]:
    """The program of the health check in the image."""
    (code,) = re.findall(r'CMD \["python", "-c", "(.*)"\]', (DEPLOY / "Dockerfile").read_text())
    return [sys.executable, "-c", code]


async def checked(code: str, status: int, monkeypatch) -> tuple[int, list[str]]:
    """Run the health check against a page; return its exit code and what a proxy was asked."""

    async def page(_: web.BaseRequest) -> web.Response:
        return web.json_response({}, status=status)

    runner = web.ServerRunner(web.Server(page))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with proxying() as proxy:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            here = code.replace(":9464/", f":{runner.addresses[0][1]}/")
            assert here != code
            run = await asyncio.to_thread(
                subprocess.run, [sys.executable, "-c", here], capture_output=True, check=False, timeout=30
            )
            return run.returncode, proxy.asked
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("status", "ends"), [(200, 0), (503, 1)])
async def test_the_health_check_of_the_image_asks_no_proxy(status, ends, monkeypatch):
    assert await checked(health_check()[-1], status, monkeypatch) == (ends, [])


async def test_control_without_its_care_the_health_check_asks_the_proxy(monkeypatch):
    careless = health_check()[-1].replace("ProxyHandler({})", "ProxyHandler()")

    code, asked_ = await checked(careless, 200, monkeypatch)

    assert (code, len(asked_)) == (1, 1)
