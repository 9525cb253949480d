"""Fixtures: the real encoder, loaded once; the small encoder and its features; a bench for rounds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from personalization.encoding.encoder import TransformersEncoder
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from storage.settings import StorageSettings
from storage.store import Store
from tests.fakes import FixedClock, HashEncoder
from tests.unit.personalization.bench import Bench


@pytest.fixture(scope="session")
def real_encoder() -> TransformersEncoder:
    return load_encoder("packaged", "cpu")


@pytest.fixture
def features() -> FeatureMap:
    return FeatureMap(HashEncoder(16))


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def store(tmp_path, clock, empty_store):
    empty_store(tmp_path)
    settings = StorageSettings(data_dir=tmp_path / "data", key_dir=tmp_path / "keys", group_commit_ms=0)
    async with await Store.open(settings, now=clock) as opened:
        yield opened


@pytest.fixture
def executor():
    """A thread to solve in, which starts sooner than a worker process."""
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
async def bench(store, features, executor, clock):
    made = Bench(store, features, executor, clock)
    yield made
    await made.trainer.close()
    made.ranker.close()
