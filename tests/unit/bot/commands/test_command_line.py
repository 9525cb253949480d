"""Help and completion: everything a command takes is explained, and every shell completes it."""

from __future__ import annotations

import argparse
import subprocess

import pytest

from bot.__main__ import main
from bot.commands.completion import SHELLS, completion_of
from bot.commands.main import command_parser


def commands() -> dict[str, argparse.ArgumentParser]:
    (choices,) = [a for a in command_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(choices.choices)


def unexplained(parser: argparse.ArgumentParser) -> list[str]:
    """Return the commands and arguments of a parser that have no help text."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest for choice in action._choices_actions if choice.help}
            found += sorted(set(action.choices) - told)
        elif not action.help or action.help is argparse.SUPPRESS:
            found.append(action.option_strings[-1] if action.option_strings else action.dest)
    return found


def test_every_command_and_option_has_a_help_text():
    parsers = {"simpatico": command_parser(), **commands()}

    assert {name: unexplained(parser) for name, parser in parsers.items()} == {name: [] for name in parsers}


def test_control_an_option_without_a_help_text_is_found():
    parser = argparse.ArgumentParser()
    parser.add_argument("--silent")
    parser.add_subparsers().add_parser("mute")

    assert unexplained(parser) == ["--silent", "mute"]


def test_every_command_prints_its_help(capsys):
    for name in commands():
        with pytest.raises(SystemExit) as left:
            main([name, "--help"])

        assert (left.value.code, name in capsys.readouterr().out) == (0, True)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_completion_of_every_shell_names_every_command(shell, capsys):
    assert main(["completion", shell]) == 0

    script = capsys.readouterr().out
    assert [name for name in commands() if name not in script] == []


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (("doc",), ["doctor"]),
        (("completion", "z"), ["zsh"]),
        (("evaluate", "--see"), ["--seeds"]),
    ],
)
def test_bash_completes_with_the_script(typed, completed, tmp_path):
    script = tmp_path / "simpatico.bash"
    script.write_text(completion_of(command_parser(), "bash"))
    words = " ".join(("simpatico", *typed))
    ask = (
        f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; "
        "$(complete -p simpatico | grep -o '_[a-z_]*simpatico') && echo ${COMPREPLY[@]}"
    )

    shown = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)

    assert shown.stdout.split() == completed
