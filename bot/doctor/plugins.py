"""Check of the plug-ins that judge candidates or derive labels. Models are checked as models."""

from __future__ import annotations

from collections.abc import Iterator

from bot.doctor import Finding, failed, ok
from bot.plugins.text_filters import with_filters
from personalization.errors import PluginBroken
from personalization.labels.plugged import source_in
from personalization.plugins import Group, plugin_in, source_of


def examine_plugins(filters: tuple[str, ...], label_source: str) -> Iterator[Finding]:
    """Start each plug-in. Blocks.

    Args:
        filters: ``[safety] filters``.
        label_source: ``[personalization] label_source``.
    """
    for one in filters:
        yield _started(Group.FILTERS, one, "rates candidates before they are posted")
    if label_source:
        yield _started(Group.LABELS, label_source, "derives the labels of replies")


def _started(group: Group, setting: str, purpose: str) -> Finding:
    try:
        if group is Group.FILTERS:
            with_filters(None, [setting])
        else:
            source_in(setting)
    except PluginBroken as exc:
        return failed("plug-in", str(exc))
    return ok("plug-in", f"{source_of(group, plugin_in(setting) or setting)} {purpose}")
