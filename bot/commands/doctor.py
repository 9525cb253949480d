"""``simpatico doctor``, ``upgrade-check`` and ``example-config``: the face of :mod:`bot.doctor`."""

from __future__ import annotations

import argparse
import sys

from bot.commands.early_signals import handle_early_signals
from bot.config import config_path
from bot.doctor.command import run_checks
from bot.doctor.example_config import example_config


def run(arguments: argparse.Namespace) -> int:
    """Run the checks of a start or of an upgrade; return 1 when one of them found what prevents a start."""
    if arguments.command == "example-config":
        sys.stdout.write(example_config())
        return 0
    handle_early_signals("stopped; the doctor has changed nothing", code=130)
    return run_checks(config_path(arguments.config), upgrade=arguments.command == "upgrade-check")
