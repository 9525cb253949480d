"""``simpatico completion``: writes the completion script of a shell, made from the arguments themselves."""

from __future__ import annotations

import argparse

import shtab

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")


def completion_of(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script that completes the commands and options of ``parser``."""
    return shtab.complete(parser, shell=shell)
