"""Imports run bot -> personalization -> storage, and every heavy library has one home."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"storage": set(), "personalization": {"storage"}, "bot": {"storage", "personalization"}}
RECORDS_ONLY = {
    "ranker.py",
    "examples.py",
    "explain.py",
    "gathering.py",
    "learning_store.py",
    "reembedding.py",
    "report.py",
    "taste.py",
}  # may name storage.records, nothing else of it
KNOW_STORAGE = {"rounds.py", "evaluate.py", *RECORDS_ONLY}
HOMES = {  # libraries -> the paths they may be imported under
    "sqlalchemy aiosqlite asyncpg cryptography alembic": "storage/",
    "discord apscheduler openai simcord httpx aiohttp": "bot/",
    "safetensors": "personalization/ bot/models.py bot/toxicity.py",
    "peft": "personalization/lora.py",
    "tensorboard": "bot/adapting.py bot/curves.py",
    "prometheus_client": "bot/metrics.py",
    "optuna": "personalization/tuning.py",
    # encoding and learning; generation; judging
    "torch transformers": "personalization/ bot/models.py bot/generators/ bot/toxicity.py",
}
FILES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse((ROOT / path).read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_module_imports_only_what_its_place_allows(path: Path) -> None:
    package, found = path.parts[0], imports(path)

    assert {name.split(".")[0] for name in found} & set(PACKAGES) <= {package, *PACKAGES[package]}
    homeless = {
        library
        for libraries, places in HOMES.items()
        for library in libraries.split()
        if library in {name.split(".")[0] for name in found}
        and not str(path).startswith(tuple(places.split()))
    }
    assert homeless == set()
    storage = {name for name in found if name.split(".")[0] == "storage"}
    assert package != "personalization" or not storage or path.name in KNOW_STORAGE
    assert path.name not in RECORDS_ONLY or storage <= {"storage.records"}


def test_every_package_is_looked_at() -> None:
    assert {path.parts[0] for path in FILES} == set(PACKAGES)
