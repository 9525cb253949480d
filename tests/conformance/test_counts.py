"""Counts in English for the host: no text of a command, a log or an error says ``1 members`` or ``2 reply``.

Looks at every string in the code. A value that stands before a noun in the plural must be a constant, whose
value is known, or go through :func:`storage.wording.counted`. Texts for members have plural forms instead;
``tests/conformance/test_plurals.py`` renders them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.wording import counted, did_you_mean

ROOT = Path(__file__).parents[2]
CODE = sorted(
    path for package in ("bot", "personalization", "storage") for path in (ROOT / package).rglob("*.py")
)

NOUNS = (
    "acts bytes candidates changes channels characters choices chunks commands conversations days"
    " dimensions draws duplicates emoji entries events examples features files groups heads hours items keys"
    " kinds labels lines members messages minutes mistakes models notes pairs parts people pieces questions"
    " reactions replies requests roles rounds rows seconds seeds servers steps terms texts times tokens"
    " traces trials tries words writes"
).split()
"""Nouns of things that are counted, in the plural."""

_NEXT = re.compile(rf" (?:(?:more|other|destroyed|rolled) )?(?:{'|'.join(NOUNS)})\b")
_IN_LOG = re.compile(rf"(?<!of )%(?:d|s|\.\df) (?:{'|'.join(NOUNS)})\b")

# Errors of experiments and of the code itself, such as "expected a head of 5 features, found 4", and ranges
# such as "1 to 300 characters": none of these numbers can be one.
ALLOWED = {
    "storage/servers/faq.py",
    "personalization/ranking/explain.py",
    "personalization/heads/named_tables.py",
    "personalization/heads/packing.py",
    "personalization/heads/heads.py",
    "personalization/lab/datasets.py",
    "personalization/lab/evaluate.py",
    "personalization/lab/bandit_replay.py",
    "personalization/lab/fit_starter.py",
    "personalization/population/fit_prior.py",
    "personalization/ranking/policy.py",
    "personalization/rounds/teaching.py",
    "personalization/solving/training.py",
}


def is_constant(value: ast.expr) -> bool:
    """Return whether a value is a constant of the code, by its name."""
    name = value.attr if isinstance(value, ast.Attribute) else value.id if isinstance(value, ast.Name) else ""
    return name.isupper()


def counts_without_forms(code: str) -> Iterator[str]:
    """Yield each text with a count before a noun that has one form only."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.JoinedStr):
            for value, after in zip(node.values, node.values[1:], strict=False):
                if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                    continue
                if not is_constant(value.value) and (found := _NEXT.match(str(after.value))):
                    yield ast.unparse(value.value) + found.group()
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _IN_LOG.findall(node.value)


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_count_before_a_noun_has_a_form_for_one(path):
    found = list(counts_without_forms(path.read_text("utf-8")))

    assert found == [] or str(path.relative_to(ROOT)) in ALLOWED, found


@pytest.mark.parametrize(
    "code",
    [
        'print(f"{n} members")',
        'print(f"{len(found)} rolled heads")',
        'print(f"a {x} and {receipt.n} pieces of it")',
        'log.info("%d labels", n)',
        'log.info("round %d: %d members, %d heads rolled back", *counts)',
    ],
)
def test_control_a_count_with_one_form_is_found(code):
    assert list(counts_without_forms(code))


@pytest.mark.parametrize(
    "code",
    [
        "print(f\"{counted(n, 'member')} of them\")",
        'print(f"at most {MOST} members, {x} of them")',
        'log.info("members: %d", n)',
        'log.info("%d of %d members", n, m)',
    ],
)
def test_a_count_with_forms_passes(code):
    assert not list(counts_without_forms(code))


@pytest.mark.parametrize(
    ("n", "said"),
    [(0, "0 replies"), (1, "1 reply"), (2, "2 replies"), (5, "5 replies"), (1234, "1,234 replies")],
)
def test_a_count_takes_the_form_of_its_noun(n, said):
    assert counted(n, "reply", "replies") == said


def test_only_a_close_word_is_suggested():
    known = ["run", "report", "restore", "restore-keys"]

    assert did_you_mean("repotr", known) == "; did you mean report?"
    assert did_you_mean("RESTORE_KEY", known) == "; did you mean restore-keys?"
    assert did_you_mean("xylophone", known) == did_you_mean("", known) == ""
