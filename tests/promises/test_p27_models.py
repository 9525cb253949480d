"""P27: no code in model files.

Nothing in the product can run code from a file. It imports neither pickle nor a similar module, never calls
``torch.load`` or ``torch.save``, forbids NumPy to unpickle, and lets no model bring its own code. A head, a
prior or an adapter is refused if it is a pickle, is truncated, holds NaN, has the wrong shape or belongs to
other features. A head that belongs to another member does not open.

Control: a malicious pickle does run when ``torch.load`` loads it; and the scan of the code finds every
example.
"""

from __future__ import annotations

import ast
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from personalization.encoding.adapter import WEIGHTS, AdaptableEncoder
from personalization.encoding.adapter_shape import AdapterShape
from personalization.encoding.encoder import load_model
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.errors import AdapterTrouble, EncoderDamaged, EncoderError, HeadDamaged, HeadOutdated
from personalization.heads.heads import Head, Prior, starter_prior
from personalization.heads.starter import load_starter, shipped_prior
from personalization.lab.adapting.checkpoints import read_progress
from personalization.settings import LearningSettings
from storage.database import schema
from storage.errors import SealBroken
from storage.records import NewHead
from storage.store import Store
from tests.fakes import HashEncoder
from tests.tiny_encoder import write_tiny_encoder
from tests.unit.storage.given import ALICE, BOB, posted, round_of, settings_in

pytestmark = pytest.mark.promise("P27")

ROOT = Path(__file__).parents[2]
PICKLES = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal", "hickle"}
DIM = 6


def faults(tree: ast.Module) -> Iterator[str]:
    """Find what in this code could run code from a file."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name.split(".")[0] in PICKLES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in PICKLES:
                yield module
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save" as name)):
                yield f"torch.{name}"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr="load"), keywords=given):
                allowed = {k.arg: k.value.value for k in given if isinstance(k.value, ast.Constant)}
                if allowed.get("allow_pickle") is not False:
                    yield "np.load"
            case ast.keyword(arg="trust_remote_code", value=ast.Constant(value=True)):
                yield "trust_remote_code"
            case ast.keyword(arg="use_safetensors", value=ast.Constant(value=False)):
                yield "use_safetensors=False"
            case _:
                pass


def test_no_code_of_ours_can_run_what_a_file_holds():
    found = {
        f"{path.relative_to(ROOT)}: {fault}"
        for package in ("bot", "personalization", "storage")
        for path in (ROOT / package).rglob("*.py")
        for fault in faults(ast.parse(path.read_text("utf-8")))
    }

    assert found == set()


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_control_the_look_at_the_code_finds_what_it_is_shown(code):
    assert len(list(faults(ast.parse(code)))) == 1


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def head() -> Head:
    return Head(np.arange(DIM, dtype=np.float16), 0.5, "these", "prior")


def prior() -> Prior:
    return Prior(np.zeros(DIM, np.float32), np.ones(DIM, np.float32), 0.0, 1.0, "these")


def changed(body: bytes, change) -> bytes:
    """Rewrite a safetensors file with changed arrays."""
    arrays = {name: change(array.copy()) for name, array in load(body).items()}
    header = body[8 : 8 + int.from_bytes(body[:8], "little")]
    metadata = ast.literal_eval(header.decode())["__metadata__"]
    return save(arrays, metadata=metadata)


def broken(body: bytes, folder: Path) -> dict[str, bytes]:
    def with_nan(array):
        array[..., 0] = np.nan
        return array

    return {
        "a pickle": pickle.dumps(Bomb(str(folder / "acted"))),
        "cut short": body[:-3],
        "nothing": b"",
        "noise": np.random.default_rng(0).bytes(len(body)),
        "NaN": changed(body, with_nan),
        "wrong shape": changed(body, lambda array: np.concatenate([array, array])),
        "wrong type": changed(body, lambda array: array.astype(np.float64)),
    }


@pytest.mark.parametrize("kind", [Head, Prior])
def test_a_head_or_prior_that_is_none_is_refused_and_nothing_runs(kind, tmp_path):
    body = (head() if kind is Head else prior()).to_bytes()
    assert kind.from_bytes(body, feature_id="these", dim=DIM).to_bytes() == body

    for name, other in broken(body, tmp_path).items():
        with pytest.raises(HeadDamaged):
            kind.from_bytes(other, feature_id="these", dim=DIM)
            pytest.fail(name)
    with pytest.raises(HeadOutdated):
        kind.from_bytes(body, feature_id="others", dim=DIM)
    assert not (tmp_path / "acted").exists()


async def test_a_head_that_belongs_to_somebody_else_does_not_open(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        for number, who in enumerate((ALICE, BOB), start=1):
            await posted(store, who, number)
        alice, bob = store.member_id(ALICE), store.member_id(BOB)
        await round_of(store, NewHead(alice, b"alice's", 1), NewHead(bob, b"bob's", 1))

        def swap(connection):
            bodies = dict(connection.execute(schema.heads.select().with_only_columns(*_NAMED)).all())
            for own, other in ((alice, bob), (bob, alice)):
                row = schema.heads.update().where(schema.heads.c.member_id == own)
                connection.execute(row.values(body=bodies[other]))

        await store._writer.submit(swap)

        for member_id in (alice, bob):
            with pytest.raises(SealBroken):
                await store.learning.head_of(member_id)


_NAMED = (schema.heads.c.member_id, schema.heads.c.body)


def test_an_adapter_that_is_none_is_refused_and_nothing_runs(tmp_path):
    base = write_tiny_encoder(tmp_path / "encoder", dim=16)
    shape = AdapterShape(rank=4, alpha=8.0, attention_only=False)
    adapter = tmp_path / "adapter"
    AdaptableEncoder(load_model(str(base)), shape, torch.device("cpu"), seed=0).save(adapter, {})
    body = (adapter / WEIGHTS).read_bytes()
    load_encoder(str(adapter), "cpu")

    def with_nan(array):
        array[..., 0] = np.nan
        return array

    others = {
        "a pickle": pickle.dumps(Bomb(str(tmp_path / "acted"))),
        "cut short": body[:-3],
        "NaN": save({name: with_nan(array.copy()) for name, array in load(body).items()}),
        "wrong shape": save({name: np.concatenate([array, array]) for name, array in load(body).items()}),
    }
    for name, other in others.items():
        (adapter / WEIGHTS).write_bytes(other)
        with pytest.raises(EncoderDamaged):
            load_encoder(str(adapter), "cpu")
            pytest.fail(name)
    (adapter / WEIGHTS).unlink()
    (adapter / "adapter_model.bin").write_bytes(others["a pickle"])  # PEFT would load it
    with pytest.raises(EncoderDamaged):
        load_encoder(str(adapter), "cpu")
    assert not (tmp_path / "acted").exists()


def test_a_pickle_for_the_starter_is_refused_and_a_plain_prior_answers(tmp_path, monkeypatch):
    features = FeatureMap(HashEncoder(8))
    (tmp_path / "starter.safetensors").write_bytes(pickle.dumps(Bomb(str(tmp_path / "acted"))))
    monkeypatch.setattr("personalization.heads.starter.FILE", tmp_path / "starter.safetensors")

    with pytest.raises(HeadDamaged, match="as safetensors"):
        shipped_prior(features)
    plain = load_starter(features, LearningSettings())

    assert plain.prior_id == starter_prior(features, LearningSettings()).prior_id
    assert not (tmp_path / "acted").exists()


def test_a_pickle_for_the_weights_of_an_encoder_or_a_checkpoint_is_refused(tmp_path):
    bomb = pickle.dumps(Bomb(str(tmp_path / "acted")))
    folder = write_tiny_encoder(tmp_path / "encoder")
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    (folder / "pytorch_model.bin").write_bytes(bomb)
    (tmp_path / "progress.safetensors").write_bytes(bomb)

    with pytest.raises(EncoderError):
        load_encoder(str(folder), "cpu")
    with pytest.raises(AdapterTrouble):
        read_progress(tmp_path / "progress.safetensors", "task")

    assert not (tmp_path / "acted").exists()


def test_control_a_pickle_acts_when_torch_may_load_it(tmp_path):
    torch.save(Bomb(str(tmp_path / "acted")), tmp_path / "model.bin")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.load(tmp_path / "model.bin", weights_only=False).close()

    assert (tmp_path / "acted").exists()
