"""Download of a model of the catalogue into the cache of ``huggingface_hub``.

The library's own download starts again after each interruption and compares no hash. So the bytes are fetched
here, by its client, into ``<hash>.part`` beside the cache's blobs. A file becomes a blob of the cache only
after its hash was verified, and the library then links it. So ``HF_HOME``, ``HF_ENDPOINT``, ``HF_TOKEN``,
``HF_HUB_OFFLINE`` and proxies hold as they do elsewhere, and other programs share the cache.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from bot.catalogue import Source
from bot.generation import ModelMissing
from bot.generators.hub.pins import FilePin, Pin, Pins
from bot.generators.model_files import sha256_of
from personalization.loading_errors import explained, loading
from personalization.model_folder import CONFIG, INDEX, OTHER_FILES, VOCABULARIES, WEIGHTS

log = logging.getLogger(__name__)

PAUSE_S = 1.0
"""Pause before a download that broke off is tried again, seconds."""
_TRIES = 3
OTHERWISE = "choose another model (`simpatico models list`)"
_FOLDER_FILES = frozenset({CONFIG, INDEX, WEIGHTS, *VOCABULARIES, *OTHER_FILES, "merges.txt"})
_FOLDER_PATTERN = re.compile(r"model-\d+-of-\d+\.safetensors|chat_template\.(?:jinja|json)")
_SHA256, _GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class _Offer:
    """One file as the hub offers it."""

    name: str
    commit: str
    pin: FilePin


def on_disk(source: Source, model_dir: Path) -> Path | None:
    """Return the GGUF file or the model folder if all its pinned files are here; None otherwise.

    Compares sizes, not hashes; never asks the hub.

    Raises:
        ModelMissing: The file with the pins is damaged.
    """
    from huggingface_hub import try_to_load_from_cache

    pin = Pins(model_dir).of(source.repo)
    wanted = (
        pin.files if pin and not source.file else {source.file: pin.files.get(source.file)} if pin else {}
    )
    found: Path | None = None
    for name, file in wanted.items():
        cached = try_to_load_from_cache(source.repo, name, revision=pin.commit if pin else None)
        if file is None or not isinstance(cached, str) or Path(cached).stat().st_size != file.size:
            return None
        found = Path(cached)
    return found if found is None or source.file else found.parent


def fetch(source: Source, model_dir: Path, *, progress: bool) -> Path:
    """Download what is missing, verify every file against the hub and the pins, and pin it. Blocks.

    Args:
        source: The files.
        model_dir: Folder of the pins.
        progress: Whether to show progress bars on standard error.

    Returns:
        The GGUF file, or the model folder.

    Raises:
        ModelMissing: The hub cannot be reached or refuses, the disk is full, the download broke off, or the
            bytes are not those that the hub or an earlier download named.
    """
    from huggingface_hub import hf_hub_download

    pins = Pins(model_dir)
    with loading("the model", source.repo, ModelMissing, OTHERWISE):
        offers = _offers(source, pins)
        _check_space(source.repo, offers)
        for offer in offers:
            _fetch_blob(source.repo, offer, progress)
        paths = [Path(hf_hub_download(source.repo, offer.name, revision=offer.commit)) for offer in offers]
        _name_branch(source.repo, offers[0])
        pins.add(source.repo, Pin(offers[0].commit, {offer.name: offer.pin for offer in offers}))
    return paths[0] if source.file else paths[0].parent


def _offers(source: Source, pins: Pins) -> list[_Offer]:
    """Ask the hub for the files, at the pinned commit if there is one.

    Raises:
        ModelMissing: The hub offers other bytes than were pinned, or no hash.
    """
    from huggingface_hub.errors import RevisionNotFoundError

    pin = pins.of(source.repo)
    instead = (
        f"; nothing was downloaded. If you trust the new files, delete the entry {source.repo} in"
        f" {pins.path}, and download them again"
    )
    try:
        first = _offer(source.repo, source.file or CONFIG, pin.commit if pin else "main")
    except RevisionNotFoundError as exc:
        if pin is None:
            raise
        raise ModelMissing(
            f"the hub no longer has the commit {pin.commit} of {source.repo}, which was pinned at the first"
            f" download{instead}"
        ) from exc
    names = [] if source.file else _names_in(source.repo, first.commit)
    offers = [first, *(_offer(source.repo, name, first.commit) for name in names if name != first.name)]
    for offer in offers:
        pinned = pin.files.get(offer.name) if pin else None
        if pinned is not None and pinned.hash != offer.pin.hash:
            raise ModelMissing(
                f"the hub offers other bytes for {offer.name} of {source.repo} than at the first download:"
                f" expected the hash {pinned.hash}, found {offer.pin.hash}{instead}"
            )
    return offers


def _offer(repo: str, name: str, revision: str) -> _Offer:
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import OfflineModeIsEnabled

    if constants.is_offline_mode():
        raise OfflineModeIsEnabled
    found = get_hf_file_metadata(hf_hub_url(repo, name, revision=revision))
    hashed, commit, size = (found.etag or "").lower(), found.commit_hash or "", found.size
    has_hash = _SHA256.fullmatch(hashed) or _GIT_SHA1.fullmatch(hashed)
    if not has_hash or not _GIT_SHA1.fullmatch(commit) or size is None or size < 0:
        raise ModelMissing(
            f"the hub at {constants.ENDPOINT} names no commit, size or hash of {name} of {repo}, so the"
            " download could not be verified; set HF_ENDPOINT to a hub that names them, or unset it"
        )
    return _Offer(name, commit, FilePin(hashed, size))


def _names_in(repo: str, commit: str) -> Iterable[str]:
    """Return the files of a model folder: configuration, tokenizer and safetensors, no code."""
    from huggingface_hub import HfApi

    return sorted(
        file.path
        for file in HfApi().list_repo_tree(repo, revision=commit)
        if file.path in _FOLDER_FILES or _FOLDER_PATTERN.fullmatch(file.path)
    )


def _blob_of(repo: str, pin: FilePin) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=repo, repo_type="model")
    return Path(constants.HF_HUB_CACHE) / folder / "blobs" / pin.hash


def _name_branch(repo: str, offer: _Offer) -> None:
    """Note in the cache which commit the branch has, so that the model loads by its id without a network."""
    branch = _blob_of(repo, offer.pin).parents[1] / "refs" / "main"
    if not branch.exists():
        branch.parent.mkdir(parents=True, exist_ok=True)
        branch.write_text(offer.commit, "utf-8")


def _part_of(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _check_space(repo: str, offers: list[_Offer]) -> None:
    """Check that the disk has room for what is missing.

    Raises:
        ModelMissing: It has not.
    """
    blobs = {_blob_of(repo, offer.pin): offer.pin.size for offer in offers}
    missing = sum(size - _size(_part_of(blob)) for blob, size in blobs.items() if not blob.exists())
    place = next(iter(blobs)).parent
    place.mkdir(parents=True, exist_ok=True)
    if missing > (free := shutil.disk_usage(place).free):
        raise ModelMissing(
            f"{repo} needs {missing / 1e9:.1f} GB more on the disk of {place}, which has {free / 1e9:.1f} GB"
            " free: free some space, or set HF_HOME to a folder on a larger disk"
        )


def _fetch_blob(repo: str, offer: _Offer, progress: bool) -> None:
    """Bring one verified file into the cache, unless it is there.

    Raises:
        ModelMissing: The download broke off, or its bytes do not have the hub's hash.
    """
    from huggingface_hub.utils import WeakFileLock

    blob = _blob_of(repo, offer.pin)
    lock = blob.parents[2] / ".locks" / blob.parents[1].name / f"{blob.name}.lock"  # the library's own
    lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if blob.exists():
            if _hash_of(blob, offer, progress) == offer.pin.hash:
                return
            log.warning("%s in the cache is damaged; downloading it again", offer.name)
            blob.unlink()
        part = _part_of(blob)
        _fill(part, repo, offer, progress)
        if (found := _hash_of(part, offer, progress)) != offer.pin.hash:
            part.unlink()
            raise ModelMissing(
                f"{offer.name} of {repo} has another hash than the hub names: expected {offer.pin.hash},"
                f" found {found}; the download was deleted. Download it again; if this repeats, something on"
                " the way changes it: check HF_ENDPOINT and the proxy"
            )
        part.replace(blob)


def _fill(part: Path, repo: str, offer: _Offer, progress: bool) -> None:
    """Download into a partial file, from where it ends; try again as long as bytes arrive.

    Raises:
        ModelMissing: Some attempts in a row brought none.
        OSError: The file cannot be written.
    """
    size, tries = offer.pin.size, 0
    if _size(part) > size:
        part.unlink()
    part.touch()
    with tqdm(total=size, desc=offer.name, unit="B", unit_scale=True, disable=not progress) as bar:
        while (begun := _size(part)) < size:
            bar.update(begun - bar.n)
            try:
                with part.open("ab") as file:
                    for arrived in _stream(repo, offer, begun, file):
                        bar.update(arrived - bar.n)
            except Exception as exc:  # boundary: the client raises many kinds; those of the disk pass
                if isinstance(exc, OSError) and exc.errno is not None:
                    raise OSError(exc.errno, exc.strerror, str(part)) from exc
                tries = 1 if _size(part) > begun else tries + 1
                if tries == _TRIES:
                    raise ModelMissing(
                        f"the download of {offer.name} of {repo} broke off at {_size(part) / 1e6:,.1f} of"
                        f" {size / 1e6:,.1f} MB ({explained(exc, repo)}); what has arrived is kept: start it"
                        " again, and it goes on from there"
                    ) from exc
                time.sleep(PAUSE_S)


def _stream(repo: str, offer: _Offer, begun: int, file: BinaryIO) -> Iterator[int]:
    """Append the rest of a file, or write it anew if the hub sends no parts; yield the size so far.

    Ends early when more arrives than the hub announced. Raises what the client raises.
    """
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff

    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if begun:
        headers["Range"] = f"bytes={begun}-"
    with http_stream_backoff(
        "GET",
        hf_hub_url(repo, offer.name, revision=offer.commit),
        headers=headers,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        retry_on_exceptions=(),
        retry_on_status_codes=(408, 429),
    ) as response:
        hf_raise_for_status(response)
        arrived = begun
        if begun and response.status_code != HTTPStatus.PARTIAL_CONTENT:
            arrived = file.truncate(0)
        for piece in response.iter_bytes():
            file.write(piece)
            arrived += len(piece)
            yield arrived
            if arrived > offer.pin.size:
                return


def _hash_of(path: Path, offer: _Offer, progress: bool) -> str:
    """Return the hash of a file, of the kind that the hub names for it."""
    if _SHA256.fullmatch(offer.pin.hash):
        return sha256_of(path, f"Checking {offer.name}" if progress else None)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
