"""Runs every check of ``simpatico doctor``, prints each finding as it arrives, and a summary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from bot.config import ConfigError, Settings, load_settings, read_secret
from bot.doctor import Finding, Verdict, failed, ok
from bot.doctor.discord_account import examine_account
from bot.doctor.models import examine_device, examine_encoder, examine_model, examine_toxicity
from bot.doctor.ports import examine_ports
from bot.doctor.stored_data import examine_data, examine_disk, examine_layout, examine_owner


def run_doctor(config: Path | None) -> int:
    """Run all checks and print the findings; return 1 if one of them failed, else 0."""
    try:
        settings = load_settings(config)
    except ConfigError as exc:
        for line in str(exc).splitlines():
            _print(failed("configuration", line))
        print("\nThe other checks run once the configuration can be read.")
        return 1
    _print(
        ok(
            "configuration",
            f"{config} is valid" if config else "no config.toml: all settings have their defaults",
        )
    )
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    counts = dict.fromkeys(Verdict, 0)
    async for finding in examine(settings):
        _print(finding)
        counts[finding.verdict] += 1
    print(f"\n{_summed_up(counts[Verdict.FAILED], counts[Verdict.WARNING])}")
    return 1 if counts[Verdict.FAILED] else 0


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Yield the findings of all checks."""
    async for finding in examine_account(read_secret(settings.bot.token_env), settings.bot):
        yield finding
    yield await examine_model(settings.generator)
    yield await asyncio.to_thread(examine_device, settings.personalization.device)
    yield await asyncio.to_thread(examine_encoder, settings.personalization)
    if settings.safety.toxicity_model:
        yield await asyncio.to_thread(examine_toxicity, settings.safety)
    for finding in examine_owner(settings.storage):
        yield finding
    for finding in examine_layout(settings.storage):
        yield finding
    async for finding in examine_data(settings.storage):
        yield finding
    for finding in examine_disk(settings):
        yield finding
    for finding in examine_ports(settings.operator):
        yield finding


def _summed_up(n_failed: int, n_warnings: int) -> str:
    if n_failed:
        return f"{n_failed} failed: the bot will not run until this is fixed."
    return f"Ready to run; {n_warnings} to look at." if n_warnings else "Ready to run."


def _print(finding: Finding) -> None:
    print(f"{finding.verdict:8} {finding.what:14} {finding.said}", flush=True)
