"""The argument parser of ``simpatico``: it suggests the closest word, and takes common options anywhere.

The options that every command has may stand before or after the command. The later one counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from storage.wording import did_you_mean


class Parser(argparse.ArgumentParser):
    """A parser that names the closest known word when a command, a choice or an option is unknown."""

    # The overloads of the base class give the namespace its type, which is Any here.
    def parse_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> Any:
        """Parse the command line; the parser of the chosen command refuses options that it does not know."""
        words = sys.argv[1:] if args is None else list(args)
        self._check_options_before_the_command(words)
        found, unknown = self.parse_known_args(words, namespace)
        if unknown:
            chosen = self._commands().get(getattr(found, "command", None) or "", self)
            wrong = next((word for word in unknown if word.startswith("-")), unknown[0])
            close = did_you_mean(wrong.partition("=")[0], chosen._option_string_actions)
            chosen.error(f"unrecognized arguments: {' '.join(unknown)}{close}")
        return found

    def _check_options_before_the_command(self, words: Sequence[str]) -> None:
        """Refuse an unknown option that stands first, before its value is taken for a command."""
        commands = self._commands()
        own = list(self._option_string_actions)
        of_commands = {option for parser in commands.values() for option in parser._option_string_actions}
        for word in takewhile(lambda word: word not in commands, words):
            option = word.partition("=")[0]
            if word.startswith("--") and not any(known.startswith(option) for known in own):
                misplaced = option in of_commands
                advice = "; write it after the command" if misplaced else did_you_mean(option, own)
                self.error(f"unrecognized arguments: {word}{advice}")

    def _commands(self) -> dict[str, Parser]:
        found = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        return {name: parser for action in found for name, parser in action.choices.items()}

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as exc:
            close = did_you_mean(str(value), map(str, action.choices or ()))
            raise argparse.ArgumentError(action, f"{exc.message}{close}") from None


class CommandParser(Parser):
    """The parser of one command, which also takes the options of every command."""

    def __init__(self, **how: Any) -> None:
        super().__init__(parents=[common_options(defaults=False)], **how)


class _Version(argparse.Action):
    """Prints the version; it is looked up only then, because that takes a while."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print(f"simpatico {version('simpatico')}")
        parser.exit()


def common_options(*, defaults: bool) -> argparse.ArgumentParser:
    """Return the options of every command, to be a parent of its parser.

    Args:
        defaults: Whether options that are left out get their default. Only the parser of ``simpatico``
            itself sets it: a command must not reset what stands before it.
    """
    parent = argparse.ArgumentParser(add_help=False)
    options = parent if defaults else parent.add_argument_group("options of every command")

    def option(*flags: str, default: Any, **how: Any) -> None:
        options.add_argument(*flags, default=default if defaults else argparse.SUPPRESS, **how)

    option(
        "--config",
        type=Path,
        default=None,
        metavar="FILE",
        help="a config.toml; by default the one in this folder, if any",
    )
    option(
        "-v",
        "--verbose",
        action="store_true",
        default=False,
        help="log more (never texts, names or ids)",
    )
    option(
        "--port",
        type=int,
        default=0,
        help="port of the playground on 127.0.0.1; 0 takes a free one",
    )
    option(
        "--model",
        default="",
        metavar="NAME",
        help="language model in this process, instead of the one in config.toml: small, medium, large,"
        " another one of the catalogue, a Hugging Face id, a folder or a GGUF file",
    )
    options.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    return parent
