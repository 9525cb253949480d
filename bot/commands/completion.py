"""``simpatico completion``: print the completion script of a shell, generated from the argument parser."""

from __future__ import annotations

import argparse

import shtab


def run(arguments: argparse.Namespace) -> int:
    """Print the script of the chosen shell."""
    print(completion_of(arguments.whole, arguments.shell))
    return 0


def completion_of(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script that completes the commands and options of ``parser``."""
    return shtab.complete(parser, shell=shell)
