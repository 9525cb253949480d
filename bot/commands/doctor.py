"""``simpatico doctor``: the command-line face of :mod:`bot.doctor`."""

from __future__ import annotations

import argparse

from bot.commands.early_signals import handle_early_signals
from bot.config import config_path
from bot.doctor.command import run_doctor


def run(arguments: argparse.Namespace) -> int:
    """Run all checks; return 1 when one of them found something that prevents a start."""
    handle_early_signals("stopped; the doctor has changed nothing", code=130)
    return run_doctor(config_path(arguments.config))
