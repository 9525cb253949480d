"""Help, completion and options: explained, completed, taken before and after a command, typos answered."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.commands.completion import completion_of
from bot.commands.declared import SHELLS
from bot.commands.main import command_parser
from bot.commands.parsing import Parser, common_options

ROOT = Path(__file__).parents[4]

ARGUMENTS = {
    "run": (),
    "playground": (),
    "models": (),
    "doctor": (),
    "upgrade-check": (),
    "example-config": (),
    "train": (),
    "completion": ("bash",),
    "failpoints": (),
    "evaluate": (str(ROOT / "tests/data/ukpconvarg1"), "--dev"),
    "adapt-encoder": (str(ROOT / "tests/data/ukpconvarg1"), "--out", "adapter"),
    "compress-encoder": (str(ROOT / "tests/data/ukpconvarg1"), "--out", "small-encoder"),
    "tune": (str(ROOT / "tests/data/ukpconvarg1"),),
    "fit-starter": (str(ROOT / "tests/data/dbdc3"), "--out", "starter"),
    "report": (),
    "backup": ("copy",),
    "restore": ("copy",),
    "backup-keys": ("keys-copy",),
    "restore-keys": ("keys-copy",),
    "rotate-key": (),
    "ledger": (),
    "move": ("--to", "sqlite"),
    "audit": ("--verify",),
    "forget": ("1" * 18,),
}
"""Command -> arguments with which it works, in the order in which they run; a new command needs a line."""


ACTIONS = {"models": {"list": (), "get": ("small",)}}
"""Command -> its own commands -> arguments with which they work."""


def commands() -> dict[str, argparse.ArgumentParser]:
    (choices,) = [a for a in command_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(choices.choices)


def actions_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of a command's own commands."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: choice for action in found for name, choice in action.choices.items()}


def every_parser() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command and of each of its own commands, by their words."""
    found = commands()
    own = {
        f"{name} {action}": one
        for name, parser in found.items()
        for action, one in actions_of(parser).items()
    }
    return {**found, **own}


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
    parsers = {"simpatico": command_parser(), **every_parser()}

    assert {name: unexplained(parser) for name, parser in parsers.items()} == {name: [] for name in parsers}


def test_control_an_option_without_a_help_text_is_found():
    parser = argparse.ArgumentParser()
    parser.add_argument("--silent")
    parser.add_subparsers().add_parser("mute")

    assert unexplained(parser) == ["--silent", "mute"]


def test_every_command_prints_its_help(capsys):
    for name in every_parser():
        with pytest.raises(SystemExit) as left:
            main([*name.split(), "--help"])

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
        (("models", "g"), ["get"]),
        (("models", "get", "qwen2.5-0"), ["qwen2.5-0.5b"]),
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


GIVEN = {
    "--config": (["--config", "other.toml"], "config", Path("other.toml")),
    "--verbose": (["-v"], "verbose", True),
    "--port": (["--port", "8123"], "port", 8123),
    "--model": (["--model", "small"], "model", "small"),
}
"""Option of every command -> how it is given, its name and its value."""


@pytest.mark.parametrize("option", GIVEN)
def test_an_option_of_every_command_works_before_and_after_it_and_is_in_its_help(option):
    given, name, value = GIVEN[option]
    own = {(name, action): needed for name, they in ACTIONS.items() for action, needed in they.items()}
    for words, needed in {**{(name,): needed for name, needed in ARGUMENTS.items()}, **own}.items():
        before = command_parser().parse_args([*given, *words, *needed])
        between = command_parser().parse_args([words[0], *given, *words[1:], *needed])
        after = command_parser().parse_args([*words, *given, *needed])
        last = command_parser().parse_args([*words, *needed, *given])

        found = [getattr(one, name) for one in (before, between, after, last)]
        assert (words, found) == (words, [value] * 4)
        assert option in every_parser()[" ".join(words)].format_help()


def test_every_command_of_a_command_has_its_line():
    named = {name: set(actions_of(parser)) for name, parser in commands().items() if actions_of(parser)}

    assert named == {name: set(actions) for name, actions in ACTIONS.items()}


def test_of_two_values_the_later_one_counts_and_without_any_the_default():
    both = command_parser().parse_args(["--port", "1", "run", "--port", "2"])
    neither = command_parser().parse_args(["run"])

    assert both.port == 2
    assert (neither.port, neither.config, neither.verbose) == (0, None, False)


def test_control_options_with_defaults_of_their_own_reset_what_stands_before():
    parser = Parser(parents=[common_options(defaults=True)])
    parser.add_subparsers(dest="command").add_parser("run", parents=[common_options(defaults=True)])

    assert parser.parse_args(["--port", "1", "run"]).port == 0


def test_commands_for_hosts_come_first_in_the_help():
    listed = list(commands())

    assert listed[:3] == ["run", "playground", "doctor"]
    assert listed[-6:] == [
        "evaluate",
        "adapt-encoder",
        "compress-encoder",
        "tune",
        "fit-starter",
        "failpoints",
    ]
    shown = command_parser().format_help()
    assert [shown.index(f"    {name}") for name in listed] == sorted(
        shown.index(f"    {name}") for name in listed
    )


def typos_of(word: str) -> list[str]:
    """Return mistypings: a letter lost, doubled or swapped, another case, an underscore."""
    middle = len(word) // 2
    swapped = word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]
    return [word[:-1], word + word[-1], swapped, word.upper(), word.replace("-", "_") + "s"]


@pytest.mark.parametrize("command", [name for name in commands() if name != "run"])
def test_a_mistyped_command_gets_the_right_one(command, capsys):
    for typed in set(typos_of(command)) - set(commands()):
        with pytest.raises(SystemExit) as left:
            main([typed])

        said = capsys.readouterr().err
        assert (left.value.code, f"did you mean {command}?" in said) == (2, True), (typed, said)


def test_a_mistyped_option_or_choice_gets_the_right_one(capsys):
    for words, right in (
        (["--confg", "x", "run"], "--config"),
        (["report", "--jsn", "x"], "--json"),
        (["report", "--dayz=3"], "--days"),
        (["restore", "copy", "--accept-ledger-los s"], "--accept-ledger-loss"),
        (["completion", "bsh"], "bash"),
        (["models", "gt"], "get"),
        (["models", "Lists"], "list"),
        (["models", "get", "smal"], "small"),
        (["models", "get", "qwen3_8b"], "qwen3-8b"),
        (["models", "get", "--prot=1", "small"], "--port"),
    ):
        with pytest.raises(SystemExit):
            main(words)

        assert f"did you mean {right}?" in capsys.readouterr().err, words


def test_a_word_like_no_command_gets_no_suggestion(capsys):
    with pytest.raises(SystemExit):
        main(["xylophone"])

    said = capsys.readouterr().err
    assert "xylophone" in said and "did you mean" not in said


def test_an_option_of_a_command_that_stands_before_it_is_told_its_place(capsys):
    with pytest.raises(SystemExit):
        main(["--verify", "audit"])

    assert "write it after the command" in capsys.readouterr().err


def seconds_of(*words: str) -> float:
    """Return the user time of a run of ``simpatico``, which other work on the machine hardly changes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "bot", *words], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["backup", "--help"], ["doctor", "--version"]])
def test_version_and_help_answer_at_once(words):
    assert min(seconds_of(*words) for _ in range(3)) < 0.3
