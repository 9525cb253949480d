"""``simpatico completion``: print the completion script of a shell, generated from the argument parser."""

from __future__ import annotations

import argparse
from typing import Any

import shtab

SHELLS = ("bash", "zsh", "fish")


def add_parser(commands: Any, whole: argparse.ArgumentParser) -> None:
    """Declare the command. It needs no configuration.

    Args:
        commands: The sub-parsers of ``simpatico``.
        whole: The parser of ``simpatico``, whose commands and options the script completes.
    """
    parser = commands.add_parser("completion", help="print the completion script for a shell")
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")

    def run(arguments: argparse.Namespace) -> int:
        print(completion_of(whole, arguments.shell))
        return 0

    parser.set_defaults(run_unconfigured=run)


def completion_of(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script that completes the commands and options of ``parser``."""
    return shtab.complete(parser, shell=shell)
