"""Turns everything that loading a model can raise into one line that says what to do.

The bot and the doctor load models by the same functions. These run the libraries inside :func:`loading`,
which checks the folder first, and converts any exception of a library into the error of the caller.
:func:`explained` knows the causes that hosts meet: a package that cannot be imported, a gated model, no
connection, no memory. Of an exception that it does not know, it gives the class and the first line.

Imports neither torch nor transformers. Used by the encoder, the generators, the toxicity model, the doctor,
and the command line.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from personalization.model_folder import FileBroken, check_folder

OURS = ("bot", "personalization", "storage")
_LONGEST = 240
_POSIX_ONLY = {"fcntl", "pwd", "grp", "resource", "termios"}


@contextmanager
def loading(
    what: str, source: Path | str, error: Callable[[str], Exception], otherwise: str
) -> Generator[None]:
    """Run a loader; raise ``error`` with one line for whatever it raises.

    Args:
        what: What is loaded, for people: "the encoder".
        source: A folder, which is checked first, or a Hugging Face id.
        error: The project's error to raise.
        otherwise: What else the host can do: "set [personalization] encoder to ...".

    Raises:
        Exception: What ``error`` makes. Errors of the project pass as they are.
    """
    library = logging.getLogger("transformers")
    level = library.level
    try:
        if isinstance(source, Path):
            check_folder(source)
        library.setLevel(logging.CRITICAL)  # its tables about weights; the error says the same in one line
        yield
    except Exception as exc:  # boundary: loaders raise anything
        if not isinstance(exc, FileBroken) and _is_ours(type(exc)):
            raise
        raise error(f"{what}: {explained(exc, source)}; or {otherwise}") from exc
    finally:
        library.setLevel(level)


def check_complete(source: Path | str, report: dict[str, Any], may_lack: Collection[str] = ()) -> None:
    """Check that the files held every weight; transformers fills up missing ones at random.

    Args:
        source: Folder or Hugging Face id of the model.
        report: The loading info of ``from_pretrained``.
        may_lack: Beginnings of the names of weights that are not used.

    Raises:
        FileBroken: A weight is missing.
    """
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(tuple(may_lack)))
    if missing:
        raise FileBroken(
            f"{source} lacks {len(missing)} of the weights that its config.json describes, such as"
            f" {missing[0]}:"
            " expected the whole model for this use; copy or download it again, or choose another"
        )


def explained(exc: BaseException, source: Path | str = "") -> str:
    """Return one line about what failed and what to do, for an exception of a library.

    Args:
        exc: The exception; its causes are read too.
        source: Folder or Hugging Face id of the model that was loaded.
    """
    causes = list(_causes(exc))
    for cause in causes:
        if isinstance(cause, FileBroken):
            return str(cause)
    for cause in causes:
        if package := broken_package(cause):
            return package
    for rule in (_of_the_hub, _of_this_machine, _of_the_model):
        for cause in causes:
            if said := rule(cause, source):
                return said
    said = f"({type(exc).__name__}: {_in_one_line(exc)})"
    return f"{_named(source)}cannot be loaded {said}; copy or download it again"


def broken_package(exc: BaseException) -> str | None:
    """Return one line if the exception was raised while a package of others was imported; else None."""
    if isinstance(exc, ImportError) and "SOCKS" in str(exc):
        return (
            "the environment names a SOCKS proxy, which needs the package socksio: pip install"
            " socksio, or set"
            " HTTPS_PROXY to an HTTP proxy"
        )
    name = _importing(exc)
    if name is None:
        return None
    if name in _POSIX_ONLY:
        return (
            f"this system has no {name}: Simpatico needs Linux or macOS; on Windows, run it inside WSL"
            " (https://learn.microsoft.com/windows/wsl/install)"
        )
    return (
        f"the package {name} cannot be imported ({type(exc).__name__}: {_in_one_line(exc)});"
        " install it again:"
        f" pip install --force-reinstall {name}"
    )


def _importing(exc: BaseException) -> str | None:
    """Return the package whose import raised the exception; None if no import did, or one of ours."""
    trace, name = exc.__traceback__, None
    while trace is not None and name is None:
        frame = trace.tb_frame
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if frame.f_code.co_name == "<module>" and package not in ("__main__", *OURS):
            name = package
        trace = trace.tb_next
    if isinstance(exc, ModuleNotFoundError) and exc.name and name is None:
        name = exc.name.partition(".")[0]
    elif isinstance(exc, ImportError) and name is None:
        name = (exc.name or "").partition(".")[0]
    return name if name and name not in OURS else None


def _of_the_hub(exc: BaseException, source: Path | str) -> str | None:
    """Explain a refusal of the Hugging Face hub, or that it cannot be reached."""
    page = f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co').rstrip('/')}/{source}"
    kinds = {kind.__name__ for kind in type(exc).__mro__}
    status = getattr(getattr(exc, "response", None), "status_code", None)
    if "HFValidationError" in kinds or "Incorrect path_or_model_id" in str(exc):
        return f"{source} is neither a folder here nor a Hugging Face id"
    if "GatedRepoError" in kinds:
        return (
            f"{source} is gated: accept its licence at {page} with your account, then set HF_TOKEN, in the"
            " environment or in .env, to a token of this account"
        )
    if "RepositoryNotFoundError" in kinds:
        return (
            f"{source} is not on the hub, or private: correct the name; for a private model, set HF_TOKEN, in"
            f" the environment or in .env, to a token that may read it ({page})"
        )
    if "RevisionNotFoundError" in kinds or "RemoteEntryNotFoundError" in kinds:
        return f"{source} lacks a file or a revision that was asked for on the hub; see {page}"
    if "HfHubHTTPError" in kinds:
        if status in (401, 403):
            return (
                f"the hub refuses {source} (status {status}): set HF_TOKEN to a valid token, and see {page}"
            )
        return f"the hub could not be asked for {source}: it answered with status {status}; try again later"
    if "InvalidURL" in kinds or "proxy URL" in str(exc):
        return (
            f"{source} is not on this machine, and the environment names a proxy without a valid address:"
            " expected http://host:port; check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY"
        )
    is_offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    if "OfflineModeIsEnabled" in kinds or (is_offline and "LocalEntryNotFoundError" in kinds):
        return (
            f"{source} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it; unset HF_HUB_OFFLINE"
        )
    if type(exc).__module__.startswith(("httpx", "httpcore")) or "LocalEntryNotFoundError" in kinds:
        return (
            f"{source} is not on this machine, and the hub could not be reached"
            f" ({type(exc).__name__}): check the"
            " name, the network, and HTTPS_PROXY if there is a proxy"
        )
    return None


def _of_this_machine(exc: BaseException, source: Path | str) -> str | None:
    """Explain a lack of memory, disk space or rights."""
    if isinstance(exc, MemoryError) or type(exc).__name__ == "OutOfMemoryError":
        return f"{_named(source)}does not fit into the memory; take a smaller one, or free some memory"
    if not isinstance(exc, OSError):
        return None
    place = exc.filename or source
    match exc.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"the disk is full while {source} is written to {place}; free some space"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{place} cannot be used ({exc.strerror}); correct its permissions"
        case errno.EIO:
            return f"{place} cannot be read ({exc.strerror}); check the disk"
        case _:
            return None


def _of_the_model(exc: BaseException, source: Path | str) -> str | None:
    """Explain why the libraries cannot use a model whose files are in order."""
    said, name = str(exc), _named(source)
    if "ignore_mismatched_sizes" in said or "size mismatch" in said:
        return (
            f"{name}has weights of other shapes than its config.json describes: the files belong to different"
            " models; copy or download all of them again"
        )
    if "trust_remote_code" in said:
        return f"{name}brings code of its own, which Simpatico never runs; choose a model without code"
    if "does not recognize this architecture" in said or "Unrecognized configuration class" in said:
        return (
            f"{name}is of a kind that the installed transformers cannot load for this use"
            f" ({_in_one_line(exc)});"
            " choose another model, or update transformers"
        )
    return None


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what caused it, the outermost first."""
    seen: set[int] = set()
    following: BaseException | None = exc
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _is_ours(kind: type[BaseException]) -> bool:
    return kind.__module__.partition(".")[0] in OURS


def _named(source: Path | str) -> str:
    return f"{source} " if str(source) else "it "


def _in_one_line(exc: BaseException) -> str:
    """Return the message of an exception in one line of bounded length."""
    said = " ".join(str(exc).split())
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."
