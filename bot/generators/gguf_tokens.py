"""Reads the control tokens and the chat template of a GGUF file, without its weights.

The reader of the ``gguf`` library takes 2.4 s for the packaged model, because it also lists every tensor and
makes an array of each word of the vocabulary. This reader skips what is not asked for.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_CONTROL, _USER_DEFINED = 3, 4
_TOKENS, _TYPES, _TEMPLATE = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.chat_template"


def control_tokens(path: Path) -> tuple[frozenset[str], str]:
    """Return the control tokens and the chat template of a file. Nothing where it holds none.

    Tokens that the authors added without control (Qwen's ``<tool_call>``) count where the template names
    them.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no GGUF file, or a damaged one.
    """
    found: dict[str, Any] = {}
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ValueError(f"{path.name}: expected a GGUF file")
            _, _, n_fields = struct.unpack("<IQQ", file.read(20))
            for _ in range(n_fields):
                key = _string(file).decode()
                value = _value(file, _number(file, 4))
                if key in (_TOKENS, _TYPES, _TEMPLATE):
                    found[key] = value
    except (struct.error, KeyError, UnicodeDecodeError, MemoryError, OverflowError) as exc:
        raise ValueError(f"{path.name}: a damaged GGUF file") from exc
    template = found.get(_TEMPLATE, b"").decode(errors="replace")
    tokens = frozenset(
        text
        for token, kind in zip(found.get(_TOKENS, ()), found.get(_TYPES, ()), strict=False)
        if kind in (_CONTROL, _USER_DEFINED) and (text := token.decode(errors="replace"))
        if kind == _CONTROL or text in template
    )
    return tokens, template


def _number(file: BinaryIO, kind: int) -> Any:
    code = "<" + _NUMBERS[kind]
    return struct.unpack(code, file.read(struct.calcsize(code)))[0]


def _string(file: BinaryIO) -> bytes:
    return file.read(_number(file, 10))


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        return _number(file, kind)
    inner, n = struct.unpack("<IQ", file.read(12))
    if inner in (_STRING, _ARRAY):
        return [_value(file, inner) for _ in range(n)]
    code = f"<{n}{_NUMBERS[inner]}"
    return struct.unpack(code, file.read(struct.calcsize(code)))
