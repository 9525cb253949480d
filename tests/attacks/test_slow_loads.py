"""Models that do not come: a hub that trickles, a model server that is silent. Both can be stopped.

The real program is started. Only the pause between its reports is shorter.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from personalization import loading_watch
from personalization.loading_watch import watching

WITHIN_S = 60.0
PROGRAM = (
    "import sys, personalization.loading_watch as watch; watch.FIRST_S = 0.2\n"
    "from bot.__main__ import main; sys.exit(main(sys.argv[1:]))"
)
REPORT = r"still loading (.+) after \d+ s; since the last report (\d+\.\d) s of computing, and (\d+) KB"


@asynccontextmanager
async def silent(beat: bytes):
    """Yield a server that sends a byte of its answer now and then, or none, and an event: it was asked."""
    stop, asked = asyncio.Event(), asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.set()
        headers = {"ETag": '"1"', "X-Repo-Commit": "0" * 40, "Content-Length": "1000000"}
        response = web.StreamResponse(headers=headers)
        if beat or request.method == "HEAD":
            await response.prepare(request)
        while request.method != "HEAD" and not stop.is_set():
            if beat:
                await response.write(beat)
            await asyncio.sleep(0.2)
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        stop.set()
        here = runner.server.connections if runner.server is not None else []
        transports = [one.transport for one in here if one.transport is not None]
        await runner.cleanup()
        for transport in transports:  # what a client does not read would keep it open
            transport.abort()
        await asyncio.sleep(0)


async def started(
    folder: Path, config: str, *arguments: str, **environment: str
) -> asyncio.subprocess.Process:
    (folder / "config.toml").write_text(config)
    root = str(Path(__file__).parents[2])
    environ = os.environ | {"DISCORD_TOKEN": "no.real.token", "PYTHONPATH": root} | environment
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, *arguments),
        cwd=folder,
        env=environ,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )


async def read_until(program: asyncio.subprocess.Process, pattern: str, n: int) -> list[re.Match[str]]:
    """Read lines of standard error until n of them hold the pattern; return these."""
    assert program.stderr is not None
    found: list[re.Match[str]] = []
    async with asyncio.timeout(WITHIN_S):
        while len(found) < n:
            line = (await program.stderr.readline()).decode()
            assert line, "the program ended"
            found += re.finditer(pattern, line)
    return found


async def ended(program: asyncio.subprocess.Process, stop: signal.Signals) -> tuple[int | None, str]:
    """Stop the program; return its exit code and what it still said."""
    program.send_signal(stop)
    async with asyncio.timeout(10.0):
        _, said = await program.communicate()
    return program.returncode, said.decode()


async def test_a_hub_that_trickles_is_told_again_and_again_and_a_stop_ends_it(tmp_path):
    async with silent(b"{") as (hub, _):
        program = await started(
            *(tmp_path, '[personalization]\nencoder = "somebody/tiny"\n', "run"),
            HF_ENDPOINT=hub,
            HF_HOME=str(tmp_path / "hub"),
        )
        first, _ = await read_until(program, REPORT, 2)
        await read_until(program, REPORT.replace(r"(\d+) KB", r"\d{1,2} KB"), 1)  # hardly anything comes
        code, said = await ended(program, signal.SIGTERM)

    assert first[1] == "the encoder"
    assert (code, said.strip().splitlines()[-1]) == (0, "simpatico: stopped before it was ready")
    assert "Traceback" not in said


async def test_a_doctor_who_waits_is_stopped_at_once(tmp_path):
    async with silent(b"") as (server, asked):
        config = f'[generator]\nkind = "openai"\nmodel = "m"\nbase_url = "{server}/v1"\n'
        program = await started(tmp_path, config, "doctor", DISCORD_TOKEN="")
        await asyncio.wait_for(asked.wait(), WITHIN_S)
        code, said = await ended(program, signal.SIGINT)

    assert (code, said.strip()) == (130, "simpatico: stopped; the doctor has changed nothing")


async def test_a_load_that_moves_is_told_with_its_work_and_a_quick_one_not_at_all(
    monkeypatch, tmp_path, caplog
):
    monkeypatch.setattr(loading_watch, "FIRST_S", 0.05)

    def load(megabytes: int) -> None:
        while not caplog.records and megabytes:
            (tmp_path / "part").write_bytes(bytes(megabytes << 20))

    with caplog.at_level(logging.WARNING):
        await asyncio.to_thread(watching("nothing")(load), 0)
        assert caplog.messages == []
        await asyncio.to_thread(watching("the model")(load), 1)

    (report,) = re.finditer(REPORT, caplog.messages[0])
    assert report[1] == "the model"
    assert sys.platform != "linux" or int(report[3]) >= 1024


async def test_a_load_that_fails_ends_its_watch():
    with pytest.raises(ValueError, match="broken"), watching("the model"):
        raise ValueError("broken")

    assert [thread.name for thread in loading_watch.threading.enumerate() if "watch" in thread.name] == []
