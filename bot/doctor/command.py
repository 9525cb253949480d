"""Runs every check of ``simpatico doctor``, prints each finding as it arrives, and a summary.

The checks import what they examine, so that a package that cannot be imported is a finding like any other.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from bot.config import ConfigError, Settings, discord_proxy, load_settings, read_secret
from bot.doctor import Finding, Verdict, failed, ok
from bot.doctor.models import (
    Tell,
    examine_device,
    examine_encoder,
    examine_libraries,
    examine_starter,
    examine_toxicity,
    examine_writers,
)
from bot.doctor.suggestion import examine_choice
from personalization.loading_errors import broken_package

Check = Callable[[], AsyncIterator[Finding]]


def run_checks(config: Path | None, *, upgrade: bool = False) -> int:
    """Run all checks and print the findings; return 1 if one of them failed, else 0.

    Args:
        config: The configuration file; None: there is none.
        upgrade: Whether to check only what an upgrade changes.
    """
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
    return asyncio.run(_run(settings, upgrade))


async def _run(settings: Settings, upgrade: bool) -> int:
    counts = dict.fromkeys(Verdict, 0)
    checks = _upgrade(settings) if upgrade else _checks(settings, _tell)
    async for finding in _findings(checks):
        _print(finding)
        counts[finding.verdict] += 1
    print(f"\n{_summed_up(counts[Verdict.FAILED], counts[Verdict.WARNING])}")
    return 1 if counts[Verdict.FAILED] else 0


async def examine(settings: Settings, tell: Tell = lambda _: None) -> AsyncIterator[Finding]:
    """Yield the findings of all checks; a package or a file that cannot be used is reported once.

    Args:
        settings: All sections.
        tell: Receives what takes long, before it begins.
    """
    async for finding in _findings(_checks(settings, tell)):
        yield finding


async def _findings(checks: Iterable[tuple[str, Check]]) -> AsyncIterator[Finding]:
    """Yield the findings of some checks; a package or a file that cannot be used is reported once."""
    reported: set[str] = set()
    for what, check in checks:
        try:
            async for finding in check():
                yield finding
        except ConfigError as exc:  # a secret or a proxy of the environment that cannot be used
            yield failed(what, str(exc))
        except Exception as exc:  # boundary: a package that cannot be imported raises anything
            broken = broken_package(exc)
            if broken is None and isinstance(exc, OSError) and exc.filename:
                broken = f"{exc.filename} cannot be used ({exc.strerror}); correct its path and its owner"
            if broken is None:
                raise
            if broken not in reported:
                yield failed(what, broken)
            reported.add(broken)


def _checks(settings: Settings, tell: Tell) -> Iterator[tuple[str, Check]]:
    """Yield the subject of each check, and the check, in the order in which they run."""

    async def account() -> AsyncIterator[Finding]:
        from bot.doctor.discord_account import examine_account

        token, proxy = read_secret(settings.bot.token_env), discord_proxy(settings.bot)
        async for finding in examine_account(token, settings.bot, proxy):
            yield finding

    async def model() -> AsyncIterator[Finding]:
        for finding in await examine_writers(settings.generator, tell):
            yield finding
        if settings.generator.writers:
            return
        if (better := await asyncio.to_thread(examine_choice, settings.generator)) is not None:
            yield better

    async def data() -> AsyncIterator[Finding]:
        from bot.doctor.stored_data import examine_data, examine_layout, examine_owner

        for finding in (*examine_owner(settings.storage), *examine_layout(settings.storage)):
            yield finding
        async for finding in examine_data(settings.storage):
            yield finding

    async def disk() -> AsyncIterator[Finding]:
        from bot.doctor.stored_data import examine_disk

        for finding in examine_disk(settings):
            yield finding

    async def ports() -> AsyncIterator[Finding]:
        from bot.doctor.ports import examine_ports

        for finding in examine_ports(settings.operator):
            yield finding

    yield "libraries", _in_thread(examine_libraries)
    yield "token", account
    yield "model", model
    yield "device", _in_thread(lambda: examine_device(settings.personalization.device))
    yield "encoder", _in_thread(lambda: examine_encoder(settings.personalization))
    yield "starter", partial(_starter, settings)
    if settings.safety.toxicity_model:
        yield "toxicity", _in_thread(lambda: examine_toxicity(settings.safety))
    yield "plug-in", partial(_plugins, settings)
    yield "database", data
    yield "disk", disk
    yield "port", ports


async def _starter(settings: Settings) -> AsyncIterator[Finding]:
    folder = settings.generator.starter_dir
    found = await asyncio.to_thread(examine_starter, settings.personalization, folder)
    if found is not None:
        yield found


def _upgrade(settings: Settings) -> Iterator[tuple[str, Check]]:
    """Yield the checks before an upgrade."""

    async def data() -> AsyncIterator[Finding]:
        from bot.doctor.upgrade import examine_upgrade

        async for finding in examine_upgrade(settings):
            yield finding

    yield "database", data


async def _plugins(settings: Settings) -> AsyncIterator[Finding]:
    from bot.doctor.plugins import examine_plugins

    filters, label_source = settings.safety.filters, settings.personalization.label_source
    for finding in await asyncio.to_thread(lambda: list(examine_plugins(filters, label_source))):
        yield finding


def _in_thread(check: Callable[[], Finding]) -> Check:
    async def run() -> AsyncIterator[Finding]:
        yield await asyncio.to_thread(check)

    return run


def _summed_up(n_failed: int, n_warnings: int) -> str:
    if n_failed:
        return f"{n_failed} failed: the bot will not run until this is fixed."
    return f"Ready to run; {n_warnings} to look at." if n_warnings else "Ready to run."


def _print(finding: Finding) -> None:
    print(f"{finding.verdict:8} {finding.what:14} {finding.said}", flush=True)


def _tell(what: str) -> None:
    """Print progress on standard error, which is no finding."""
    print(f"... {what}", file=sys.stderr, flush=True)
