"""Declares the commands for experiments and tests: evaluate, adapt, tune, fit the starter, failpoints.

They come last in ``simpatico --help``, after the commands for the host of a bot.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bot.commands import later
from personalization.encoding.adapter_shape import AdapterShape
from personalization.lab.options import DEFAULT_K, ROWS, AdaptSettings, StepSettings


def add_experiments(commands: Any) -> None:
    """Declare the commands and their arguments."""
    _add_evaluate(commands)
    _add_adapt_encoder(commands)
    _add_compress_encoder(commands)
    _add_tune(commands)
    _add_fit_starter(commands)
    failpoints = commands.add_parser(
        "failpoints", help="list the moments at which a test may kill the program"
    )
    failpoints.set_defaults(run=later("failpoints"))


def _add_evaluate(commands: Any) -> None:
    """Declare ``simpatico evaluate``."""
    parser = commands.add_parser("evaluate", help="measure how well heads rank, on a folder of judgements")
    parser.add_argument(
        "population", type=Path, help="folder with dataset.json, items.jsonl.gz, labels.jsonl.gz"
    )
    tested = parser.add_mutually_exclusive_group(required=True)
    tested.add_argument("--members", type=Path, help="folder whose members are tested, on the same items")
    tested.add_argument(
        "--dev", action="store_true", help="test a fixed fifth of the population's own members"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of splits of the groups (default 3)")
    parser.add_argument(
        "--k", default=",".join(map(str, DEFAULT_K)), help="labels given to a head, 0,1,3,..."
    )
    parser.add_argument("--rows", default=",".join(ROWS), help=f"which of {','.join(ROWS)} to measure")
    parser.add_argument(
        "--bandit", action="store_true", help="also replay the policies for 40 rounds (dense sets)"
    )
    parser.add_argument(
        "--starter",
        action="store_true",
        help="also measure the shipped prior, as on a server without any labels",
    )
    _add_cache_argument(parser)
    parser.add_argument("--json", type=Path, dest="json_path", help="write the figures there")
    parser.add_argument("--plot", type=Path, help="draw the curves over k there, as PNG")
    parser.set_defaults(run=later("lab.evaluate"))


def _add_adapt_encoder(commands: Any) -> None:
    """Declare ``simpatico adapt-encoder``."""
    parser = commands.add_parser("adapt-encoder", help="adapt the shared encoder on a folder of judgements")
    parser.add_argument(
        "population", type=Path, help="folder with dataset.json, items.jsonl.gz, labels.jsonl.gz"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the adapter, its checkpoint and its curves"
    )
    parser.add_argument(
        "--dev",
        type=int,
        metavar="SPLIT",
        help="leave out the members that evaluate --dev tests, and the groups asked about in this split",
    )
    _add_settings(parser)
    parser.set_defaults(run=later("lab.adapt_encoder"))


def _add_compress_encoder(commands: Any) -> None:
    """Declare ``simpatico compress-encoder``."""
    parser = commands.add_parser(
        "compress-encoder", help="write the shared encoder with 8-bit weights, and measure it on a folder"
    )
    parser.add_argument(
        "population", type=Path, help="folder with dataset.json, items.jsonl.gz, labels.jsonl.gz"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the compressed encoder")
    _add_cache_argument(parser)
    parser.set_defaults(run=later("lab.compress_encoder"))


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the training."""
    shape, steps, own = AdapterShape(), StepSettings(), AdaptSettings()
    for flag, default, text in (
        ("--rank", shape.rank, "rank of the adapter"),
        ("--dropout", shape.dropout, "dropout on the inputs of the adapter, a share"),
        ("--learning-rate", steps.learning_rate, "highest step size"),
        ("--replies", steps.replies, "different replies in a step"),
        ("--accumulate", steps.accumulate, "parts that a step is split into, to save memory"),
        ("--rounds", own.rounds, "most rounds"),
        ("--patience", own.patience, "rounds without improvement after which training ends"),
        ("--seed", own.seed, "random seed"),
    ):
        parser.add_argument(flag, type=type(default), default=default, help=f"{text} (default {default})")
    parser.add_argument(
        "--layers", type=int, default=shape.layers, help="how many of the last blocks to adapt"
    )
    parser.add_argument(
        "--all-linear", action="store_true", help="adapt every linear layer, not only queries and values"
    )
    parser.add_argument(
        "--augment",
        action="store_true",
        help="change texts at random in training; compares with plain training",
    )
    parser.add_argument(
        "--adversarial",
        action="store_true",
        help="also train on the worst small change of word embeddings; compares with plain training",
    )


def _add_tune(commands: Any) -> None:
    """Declare ``simpatico tune``."""
    parser = commands.add_parser("tune", help="search the settings of the prior on a folder of judgements")
    parser.add_argument(
        "population", type=Path, help="folder with dataset.json, items.jsonl.gz, labels.jsonl.gz"
    )
    parser.add_argument(
        "--dev",
        action="store_true",
        help="leave out the members that evaluate --dev tests, and the groups asked about under --seed",
    )
    parser.add_argument("--trials", type=int, default=30, help="settings to try (default 30)")
    parser.add_argument("--folds", type=int, default=2, help="number of splits (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    parser.add_argument("--out", type=Path, help="write the lines for config.toml there, if they are better")
    parser.set_defaults(run=later("lab.tune"))


def _add_fit_starter(commands: Any) -> None:
    """Declare ``simpatico fit-starter``."""
    parser = commands.add_parser(
        "fit-starter", help="fit a starter prior for the configured encoder, on several public sets"
    )
    parser.add_argument(
        "folders",
        type=Path,
        nargs="*",
        metavar="folder",
        help="sets to fit to, in place of those that ship; the first one has judgements of at least three"
        " chatbots' replies (dbdc3)",
    )
    parser.add_argument(
        "--also", type=Path, action="append", default=[], help="a set to fit to besides; may be repeated"
    )
    parser.add_argument(
        "--out", type=Path, help="file to write; without it, the starter is kept for the bot's next start"
    )
    parser.add_argument(
        "--compare", action="store_true", help="also print how the fit ranks with one choice changed"
    )
    _add_cache_argument(parser)
    parser.set_defaults(run=later("lab.fit_starter"))


def _add_cache_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--cache``."""
    parser.add_argument(
        "--cache", type=Path, help="folder that caches encodings, so that no text is encoded twice"
    )
