"""Short forms of the doctor's findings, and an HTTP server on the loopback interface."""

from __future__ import annotations

from contextlib import asynccontextmanager

from aiohttp import web

from bot.doctor import Finding


def verdicts(findings: list[Finding]) -> dict[str, str]:
    return {finding.what: finding.verdict.value for finding in findings}


async def listed(findings) -> list[Finding]:
    return [finding async for finding in findings]


@asynccontextmanager
async def serving(handler):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
