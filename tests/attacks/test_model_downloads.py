"""Downloads of catalogue models: interrupted, refused, from a hostile hub, onto a full disk.

The real ``huggingface_hub`` asks a small hub on loopback. Whatever the hub does, the cache holds only files
whose hash was verified, and the host gets one line.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from bot.catalogue import Source
from bot.generation import ModelMissing
from bot.generators.hub import download
from bot.generators.hub.download import fetch, on_disk
from bot.generators.hub.pins import FILE
from tests.rig.little_hub import LittleHub, little_hub

REPO, NAME = "Qwen/Qwen2.5-1.5B-Instruct-GGUF", "qwen2.5-1.5b-instruct-q4_k_m.gguf"
GGUF = Source(REPO, 1.1, NAME)
FOLDER = Source("Qwen/Qwen2.5-1.5B-Instruct", 3.1)
CONTENT = b"GGUF" + bytes(range(256)) * 400
OTHER = bytes(reversed(CONTENT))
FILES = {
    REPO: {NAME: CONTENT, "README.md": b"# Qwen"},
    FOLDER.repo: {
        "config.json": b'{"model_type": "qwen2"}',
        "tokenizer.json": b"{}",
        "model-00001-of-00002.safetensors": CONTENT,
        "model-00002-of-00002.safetensors": OTHER,
        "model.safetensors.index.json": b"{}",
        "modeling_qwen.py": b"import os",
        "pytorch_model.bin": b"\x80\x04",
        "consolidated.safetensors": CONTENT,
        "original/params.json": b"{}",
    },
}


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No token and an empty cache, also for the client that is already imported."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(download, "PAUSE_S", 0.0)


@pytest.fixture
async def hub(monkeypatch):
    async with little_hub({repo: dict(files) for repo, files in FILES.items()}) as open_hub:
        open_hub.put_in_place(monkeypatch)
        yield open_hub


async def got(source: Source, folder: Path) -> Path:
    return await asyncio.to_thread(fetch, source, folder / "models", progress=False)


async def refusal(source: Source, folder: Path) -> str:
    """Return the one line that a refused download gives."""
    with pytest.raises(ModelMissing) as refused:
        await got(source, folder)
    said = str(refused.value)
    assert "\n" not in said
    return said


def in_cache(folder: Path) -> set[bytes]:
    """Return the contents of all files that a program would take from the cache."""
    return {
        path.read_bytes() for path in (folder / "cache").glob("models--*/snapshots/*/**/*") if path.is_file()
    }


async def test_a_download_is_verified_pinned_and_asked_for_once(hub: LittleHub, tmp_path):
    assert on_disk(GGUF, tmp_path / "models") is None
    path = await got(GGUF, tmp_path)
    before = len(hub.gets())
    again = await got(GGUF, tmp_path)

    assert (path.name, path.read_bytes(), again) == (NAME, CONTENT, path)
    assert on_disk(GGUF, tmp_path / "models") == path
    assert (before, len(hub.gets())) == (1, 1)
    pins = json.loads((tmp_path / "models" / FILE).read_text())
    assert pins[REPO]["files"] == {NAME: {"hash": hub._hash_of(NAME, CONTENT), "size": len(CONTENT)}}


async def test_a_folder_comes_without_code_and_pickles(hub: LittleHub, tmp_path):
    folder = await got(FOLDER, tmp_path)

    wanted = {"config.json", "tokenizer.json", "model.safetensors.index.json"}
    shards = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    assert {path.name for path in folder.iterdir()} == wanted | shards
    assert on_disk(FOLDER, tmp_path / "models") == folder
    (folder / "tokenizer.json").unlink()
    assert on_disk(FOLDER, tmp_path / "models") is None


@pytest.mark.parametrize("at", [1, 1000, len(CONTENT) // 2, len(CONTENT) - 1])
async def test_a_download_that_breaks_off_goes_on_where_it_ended(at, hub: LittleHub, tmp_path):
    hub.cut_after = at
    said = await refusal(GGUF, tmp_path)
    hub.cut_after = None
    path = await got(GGUF, tmp_path)

    assert "broke off at" in said and "goes on from there" in said
    assert path.read_bytes() == CONTENT
    assert hub.gets()[-1] == (NAME, f"bytes={at}-")


async def test_a_hub_that_sends_no_parts_is_read_from_the_start(hub: LittleHub, tmp_path):
    hub.cut_after = 1000
    await refusal(GGUF, tmp_path)
    hub.cut_after, hub.takes_ranges = None, False

    assert (await got(GGUF, tmp_path)).read_bytes() == CONTENT


async def test_a_connection_that_breaks_again_and_again_is_enough_while_bytes_arrive(
    hub: LittleHub, tmp_path
):
    hub.cut_after, hub.cuts_resumed = 30_000, True

    assert (await got(GGUF, tmp_path)).read_bytes() == CONTENT
    assert len(hub.gets()) == 4


async def test_a_hub_that_sends_without_end_is_stopped(hub: LittleHub, tmp_path):
    hub.sent[NAME] = CONTENT + bytes(50 << 20)
    said = await refusal(GGUF, tmp_path)

    assert "has another hash" in said
    assert in_cache(tmp_path) == set()


@pytest.mark.parametrize("commit", ["1" * 40, "2" * 40])
async def test_other_bytes_than_at_the_first_download_are_refused(commit, hub: LittleHub, tmp_path):
    path = await got(GGUF, tmp_path)
    hub.files[REPO][NAME], hub.commit = OTHER, commit
    said = await refusal(GGUF, tmp_path)

    if commit == "1" * 40:
        assert "offers other bytes" in said and hub._hash_of(NAME, CONTENT) in said
    else:
        assert f"no longer has the commit {'1' * 40}" in said and f"delete the entry {REPO}" in said
    assert on_disk(GGUF, tmp_path / "models") == path
    assert in_cache(tmp_path) == {CONTENT}


async def test_control_without_the_pins_other_bytes_are_taken(hub: LittleHub, tmp_path):
    await got(GGUF, tmp_path)
    hub.files[REPO][NAME], hub.commit = OTHER, "2" * 40
    (tmp_path / "models" / FILE).unlink()

    assert (await got(GGUF, tmp_path)).read_bytes() == OTHER


@pytest.mark.parametrize("sent", [OTHER, CONTENT[:-1] + b"!", b"<html>login</html>".ljust(len(CONTENT))])
async def test_bytes_with_another_hash_than_the_hub_names_never_reach_the_cache(
    sent, hub: LittleHub, tmp_path
):
    hub.sent[NAME] = sent
    said = await refusal(GGUF, tmp_path)
    hub.sent.clear()

    assert "has another hash than the hub names" in said and "check HF_ENDPOINT and the proxy" in said
    assert in_cache(tmp_path) == set()
    assert (await got(GGUF, tmp_path)).read_bytes() == CONTENT


async def test_a_small_file_is_verified_by_the_hash_of_git(hub: LittleHub, tmp_path):
    hub.sent["config.json"] = b'{"model_type": "qwen3"}'

    assert "config.json of" in await refusal(FOLDER, tmp_path)


async def test_control_without_the_check_of_the_hash_they_do(hub: LittleHub, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_hash_of", lambda path, offer, progress: offer.pin.hash)
    hub.sent[NAME] = OTHER
    await got(GGUF, tmp_path)

    assert in_cache(tmp_path) == {OTHER}


@pytest.mark.parametrize("named", ["some-etag", "", "1234", "0" * 63])
async def test_a_hub_that_names_no_hash_is_refused(named, hub: LittleHub, tmp_path):
    hub.hashes[NAME] = named

    assert "could not be verified; set HF_ENDPOINT" in await refusal(GGUF, tmp_path)
    assert hub.gets() == []


@pytest.mark.parametrize("commit", ["main", "", "../../../outside", "1" * 39])
async def test_a_hub_that_names_no_commit_is_refused(commit, hub: LittleHub, tmp_path):
    hub.commit = commit

    assert "could not be verified; set HF_ENDPOINT" in await refusal(GGUF, tmp_path)


async def test_two_starts_at_once_download_a_file_once_and_keep_all_pins(hub: LittleHub, tmp_path):
    paths = await asyncio.gather(*(got(source, tmp_path) for source in (GGUF, FOLDER, GGUF, FOLDER)))

    assert (
        (paths[0], paths[1])
        == (paths[2], paths[3])
        == (
            on_disk(GGUF, tmp_path / "models"),
            on_disk(FOLDER, tmp_path / "models"),
        )
    )
    assert sorted(name for name, _ in hub.gets()) == sorted({name for name, _ in hub.gets()})


async def test_a_damaged_file_in_the_cache_is_downloaded_again(hub: LittleHub, tmp_path):
    path = await got(GGUF, tmp_path)
    path.resolve().write_bytes(OTHER)

    assert (await got(GGUF, tmp_path)).read_bytes() == CONTENT


async def test_a_gated_model_names_the_variable_and_the_page_and_the_token_opens_it(
    hub: LittleHub, tmp_path, monkeypatch
):
    hub.gated = "hf_secret"
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    said = await refusal(GGUF, tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    wrong = await refusal(GGUF, tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    path = await got(GGUF, tmp_path)

    assert "HF_TOKEN" in said and f"{hub.url}/{REPO}" in said
    assert "is gated" in wrong and "hf_wrong" not in wrong
    assert path.read_bytes() == CONTENT
    assert hub.tokens["cdn"] == {""}  # the content server never sees it


async def test_a_model_that_the_hub_lacks_and_a_hub_that_is_away_are_told(
    hub: LittleHub, tmp_path, monkeypatch
):
    missing = await refusal(Source("nobody/none", 1.0, NAME), tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = LittleHub(url=f"http://127.0.0.1:{taken.getsockname()[1]}")
    away.put_in_place(monkeypatch)
    unreachable = await refusal(GGUF, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = await refusal(GGUF, tmp_path)

    assert "nobody/none is not on the hub, or private" in missing
    assert "the hub could not be reached (ConnectError): check the name, the network" in unreachable
    assert "HF_HUB_OFFLINE forbids to fetch it" in offline


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
async def test_a_hub_that_refuses_is_told_with_its_status(status, hub: LittleHub, tmp_path):
    hub.status = status
    said = await refusal(GGUF, tmp_path)

    assert str(status) in said or "is not on the hub" in said or "lacks a file" in said
    assert REPO in said and in_cache(tmp_path) == set()


async def test_what_is_here_needs_no_hub(hub: LittleHub, tmp_path, monkeypatch):
    path = await got(GGUF, tmp_path)
    hub.asked.clear()

    assert on_disk(GGUF, tmp_path / "models") == path
    assert hub.asked == []


async def test_a_model_larger_than_the_disk_is_refused_before_a_byte_is_sent(hub: LittleHub, tmp_path):
    hub.sizes[NAME] = 10**16
    said = await refusal(GGUF, tmp_path)

    assert "needs 10000000.0 GB more on the disk of" in said and "HF_HOME" in said
    assert hub.gets() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
async def test_a_disk_that_fills_up_on_the_way_is_one_line(hub: LittleHub, tmp_path):
    blobs = tmp_path / "cache" / f"models--{REPO.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hub._hash_of(NAME, CONTENT)}.part").symlink_to("/dev/full")

    assert "the disk is full while" in await refusal(GGUF, tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a/b": {"commit": 1}}', '{"a/b": {"files": {}}}'])
async def test_a_damaged_file_of_pins_is_refused(content, hub: LittleHub, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / FILE).write_text(content)

    assert "is damaged, so downloaded models cannot be compared" in await refusal(GGUF, tmp_path)
    assert hub.asked == []


async def started(folder: Path, environ: dict[str, str], *words: str) -> asyncio.subprocess.Process:
    """Start the real command; of the hub it knows what the environment and the file ``.env`` say."""
    environ |= {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *words),
        cwd=folder,
        env=environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_command_honours_the_environment_and_its_file_and_goes_on_after_a_stop(
    hub: LittleHub, tmp_path
):
    hub.gated, hub.cut_after, hub.open_end = "hf_secret", 5000, asyncio.Event()
    (tmp_path / "config.toml").write_text('[generator]\nruntime = "llamacpp"\n')
    environ = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_secret"}
    program = await started(tmp_path, dict(environ), "models", "get", "small")
    part = tmp_path / "home/hub" / f"models--{REPO.replace('/', '--')}" / "blobs"
    async with asyncio.timeout(60.0):
        while not any(path.stat().st_size >= 5000 for path in part.glob("*.part")):
            await asyncio.sleep(0.05)
        program.send_signal(signal.SIGINT)
        _, stopped = await program.communicate()
        hub.cut_after = None
        hub.open_end.set()
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in environ.items()))
        again = await started(tmp_path, {}, "models", "get", "small")
        shown, _ = await again.communicate()

    assert (
        stopped.decode()
        .splitlines()[-1]
        .startswith("simpatico: stopped; what has arrived of qwen2.5-1.5b is kept")
    )
    assert (program.returncode, again.returncode) == (4, 0)
    assert b"Traceback" not in stopped
    assert hub.gets()[-1] == (NAME, "bytes=5000-")
    assert b'[generator]\nmodel = "qwen2.5-1.5b"' in shown
    assert hub.tokens == {"hub": {"Bearer hf_secret"}, "cdn": {""}}
