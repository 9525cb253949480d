"""Finds plug-ins: models, judges and label sources of other installed packages.

A package offers a plug-in as an entry point of one of the groups in :class:`Group`. A setting names it as
``plugin:NAME``. No code of a plug-in is imported before a setting names it. ``docs/plugins.md`` is the manual
for authors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from personalization.errors import PluginBroken

PREFIX = "plugin:"
"""What the name of a plug-in follows in a setting."""

Factory = Callable[..., Any]


class Group(StrEnum):
    """What a plug-in can be; the value is the group of its entry point."""

    GENERATORS = "simpatico.generators"
    """Language models: ``[generator] kind``."""
    ENCODERS = "simpatico.encoders"
    """Text encoders: ``[personalization] encoder``."""
    FILTERS = "simpatico.filters"
    """Judges of candidates: ``[safety] filters``."""
    LABELS = "simpatico.labels"
    """Label sources: ``[personalization] label_source``."""


def plugin_in(setting: str) -> str | None:
    """Return the name of the plug-in that a setting names; None if it names no plug-in."""
    return setting.removeprefix(PREFIX) if setting.startswith(PREFIX) else None


def load_plugin(group: Group, name: str) -> Factory:
    """Import the factory of a plug-in.

    Args:
        group: What it must be.
        name: Its name, without ``plugin:``.

    Raises:
        PluginBroken: No installed package offers it, several do, or it cannot be imported.
    """
    offered = [entry for entry in entry_points(group=group) if entry.name == name]
    if len({entry.value for entry in offered}) != 1:
        raise PluginBroken(_not_one(group, name, offered))
    entry = offered[0]
    try:
        factory = entry.load()
    except Exception as exc:  # boundary: importing a package can raise anything
        raise PluginBroken(
            f"the plug-in {called(entry)} cannot be imported ({type(exc).__name__}: {exc});"
            " install or mend it"
        ) from exc
    if not callable(factory):
        raise PluginBroken(
            f"the plug-in {called(entry)}: expected a function or class at {entry.value}, found"
            f" {type(factory).__name__}"
        )
    return factory


def made_by(group: Group, name: str, *inputs: object, needs: Mapping[str, str]) -> Any:
    """Make a plug-in's object.

    Args:
        group: What it must be.
        name: Its name, without ``plugin:``.
        inputs: Arguments of its factory.
        needs: Methods and properties that the object must have, and what each is for.

    Raises:
        PluginBroken: It cannot be imported or made, or lacks something.
    """
    factory = load_plugin(group, name)
    try:
        made = factory(*inputs)
    except Exception as exc:  # boundary: the code of a plug-in can raise anything
        raise PluginBroken(f"the plug-in {name} could not start ({type(exc).__name__}: {exc})") from exc
    for attribute, purpose in needs.items():
        if not hasattr(made, attribute):
            raise PluginBroken(f"the plug-in {name}: expected {attribute}, {purpose}, found none")
    return made


def called(entry: EntryPoint) -> str:
    """Return how a plug-in is named to the host: its name, its package and the version."""
    package = entry.dist
    return f"{entry.name} of {package.name} {package.version}" if package is not None else entry.name


def source_of(group: Group, name: str) -> str:
    """Return name, package and version of a plug-in that :func:`load_plugin` finds."""
    return next((called(entry) for entry in entry_points(group=group) if entry.name == name), name)


def _not_one(group: Group, name: str, offered: list[EntryPoint]) -> str:
    if offered:
        packages = ", ".join(sorted({called(entry) for entry in offered}))
        return f"expected one plug-in {name} of the group {group}, found several: {packages}; uninstall one"
    known = ", ".join(sorted({entry.name for entry in entry_points(group=group)})) or "none installed"
    return f"expected an installed plug-in {name} of the group {group}, found {known}"
