"""Writes curves of the training rounds as TensorBoard event files, when a folder is configured.

Each round is one step with members, labels, roll-backs and seconds. TensorBoard comes with the extra
``adapt``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bot.config import ConfigError
from personalization.rounds.round_results import RoundReport


class RoundCurves:
    """Writes one point of each curve per round.

    Args:
        folder: Folder of the event files; created when missing.

    Raises:
        ConfigError: TensorBoard is not installed, or the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("tensorboard") is None:
            raise ConfigError(
                "[operator] curves_dir needs TensorBoard: pip install 'simpatico[adapt]', or leave it empty"
            )
        from tensorboard.summary import Writer  # an optional extra, so it is imported only when used

        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer: Any = Writer(str(folder))
        except OSError as exc:
            raise ConfigError(f"[operator] curves_dir = {folder}: cannot be written to ({exc})") from exc

    def drawn(self, work: Callable[[], Awaitable[RoundReport]]) -> Callable[[], Awaitable[RoundReport]]:
        """Return ``work`` with its report added to the curves."""

        async def run() -> RoundReport:
            report = await work()
            if report.n_members:
                self.add(report)
            return report

        return run

    def add(self, report: RoundReport) -> None:
        """Write the points of one round."""
        for name, value in (
            ("members", report.n_members),
            ("labels", report.n_labels),
            ("rolled_back", report.n_rolled_back),
            ("removed", report.n_removed),
            ("seconds", report.seconds),
        ):
            self._writer.add_scalar(f"round/{name}", value, step=report.version)
        self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        self._writer.close()
