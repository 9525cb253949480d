"""``simpatico doctor``: the command-line face of :mod:`bot.doctor`."""

from __future__ import annotations

import argparse
from typing import Any

from bot.commands.early_signals import handle_early_signals
from bot.config import config_path
from bot.doctor.command import run_doctor


def add_parser(commands: Any) -> None:
    """Declare the command. It reads the configuration itself, because a mistake there is a finding."""
    parser = commands.add_parser(
        "doctor", help="look at everything a start needs, change nothing, and say what to do"
    )
    parser.set_defaults(run_unconfigured=run)


def run(arguments: argparse.Namespace) -> int:
    """Run all checks; return 1 when one of them found something that prevents a start."""
    handle_early_signals("stopped; the doctor has changed nothing", code=130)
    return run_doctor(config_path(arguments.config))
