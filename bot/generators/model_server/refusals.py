"""Recognises why a model server refused a request, from the errors of many servers.

A refusal arrives as an HTTP status with a body, or as an error object in a body with status 200. The words
of a server may quote the request, so they are compared here and never logged or shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import openai

_TOO_LONG = re.compile(
    r"context_?(?:length|window|size)_?exceeded|exceed_?context|string_above_max_length"
    r"|(?:context (?:length|window|size)|prompt|inputs?|tokens?|messages|max_(?:model|seq)_len)\b"
    r"[^{}]{0,160}?(?:exceed|too (?:long|large|many)|(?:long|great|larg)er than|maximum"
    r"|must be (?:less|<)|must have less|should be \[|not enough|max length)"
    r"|(?:exceed|too (?:long|many)|maximum|reduce the length|longer than)[^{}]{0,160}?\b"
    r"(?:context|prompt|inputs?|tokens?|model(?:'s)? (?:length|limit))"
    r"|输入.{0,20}(?:超|过长)|(?:上下文|长度).{0,20}(?:超|限制)"
)
_ABOUT_LENGTH = re.compile(r"token|context|length|too (?:long|large)|输入|长度")
_REPLY_LIMIT = re.compile(r"at most (\d{1,9}) (?:completion|output) tokens")
_FILTERED = re.compile(r"content[ _-]?(?:filter|policy|management)|responsibleai|\bflagged\b")
_TEMPLATE = re.compile(r"template|jinja|\broles?\b")
_NUMBER = re.compile(r"(?<![\w.-])(?<!code )(?<!code: )\d{2,9}(?![\w-])")
_LIMIT = re.compile(
    r"(?:maximum|limit|allowed|context length|max_seq_len|less than|<=|exceed|> )\D{0,60}(\d{2,9})"
    r"|(\d{2,9}) maximum"
)
_SCOPE = 8
"""Largest factor between a prompt that is too long and the limit that is read from a refusal."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server said instead of an answer.

    Attributes:
        status: HTTP status, or the one that the error object in a body with status 200 names.
        parameter: Name of the parameter that the server complains about; empty if it names none.
        words: All words of the error in lower case. Never logged.
        sizes: Length of the prompt and the limit, tokens, if the error has fields for them.
    """

    status: int
    parameter: str = ""
    words: str = field(default="", repr=False)
    sizes: tuple[int, int] | None = None

    @classmethod
    def from_status(cls, exc: openai.APIStatusError) -> Refusal:
        """Return the refusal in an HTTP response with an error status."""
        return cls.from_body(exc.body, exc.status_code)

    @classmethod
    def from_body(cls, body: Any, status: int | None = None) -> Refusal:
        """Return the refusal in the body of a response.

        Args:
            body: Decoded JSON, or text.
            status: The HTTP status; None: 200, and the body may name another.
        """
        fields = list(_fields(body))
        found = {key: value for key, value in reversed(fields) if key}
        texts = (text for _, text in fields if isinstance(text, str) and not text.isdecimal())
        words = " ".join(texts).casefold()[:20_000]
        given, limit = found.get("n_prompt_tokens"), found.get("n_ctx")
        return cls(
            status or _status(found, words),
            str(found.get("param") or found.get("loc") or "").casefold(),
            re.sub(r"(?<=\d),(?=\d{3})", "", words),
            (given, limit) if isinstance(given, int) and isinstance(limit, int) else None,
        )

    @property
    def is_too_long(self) -> bool:
        """Whether the prompt, alone or with the reply, is longer than the context of the model."""
        if self.status == 413:
            return True
        if self.status in (401, 403, 404, 429) or self.parameter in ("temperature", "top_p"):
            return False
        return bool(
            _ABOUT_LENGTH.search(self.words) and _TOO_LONG.search(self.words) and self.reply_limit is None
        )

    @property
    def reply_limit(self) -> int | None:
        """The longest reply that the model writes, if the request asked for a longer one, tokens."""
        found = _REPLY_LIMIT.search(self.words)
        return int(found.group(1)) if found else None

    @property
    def is_filtered(self) -> bool:
        """Whether the server refused what the prompt says."""
        return _FILTERED.search(self.words) is not None

    @property
    def is_missing_model(self) -> bool:
        """Whether the server does not know the model."""
        return self.status == 404 or "model_not_found" in self.words

    @property
    def is_about_the_form(self) -> bool:
        """Whether the server may take another form of the request.

        A chat template that raises for a role is an internal error of llama.cpp and other servers.
        """
        if self.is_too_long or self.is_filtered or self.is_missing_model or self.reply_limit is not None:
            return False
        return self.status in (400, 422) or (self.status == 500 and _TEMPLATE.search(self.words) is not None)

    def share_that_fits(self) -> float:
        """Return the share of the prompt that fits, as far as the server says so, else 0.6."""
        numbers = sorted({int(number) for number in _NUMBER.findall(self.words)})
        given, limit = self.sizes or (numbers[-1] if numbers else 0, 0)
        if limit == 0:
            named = [int(before or after) for before, after in _LIMIT.findall(self.words)]
            limit = next((n for n in (*named, *reversed(numbers)) if n < given <= n * _SCOPE), 0)
        return min(max(limit / given * 0.95, 0.1), 0.95) if 0 < limit < given else 0.6


def _fields(body: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield all values of a body with their keys, from the outside in."""
    if depth > 6:
        return
    if isinstance(body, dict):
        for name, value in body.items():
            yield from _fields(value, str(name), depth + 1)
    elif isinstance(body, list):
        for value in body[:50]:
            yield from _fields(value, key, depth + 1)
    elif isinstance(body, str | int):
        yield key, body[:4000] if isinstance(body, str) else body


def _status(found: dict[str, Any], words: str) -> int:
    """Return the status that an error object means: its number, or what its words say."""
    for key in ("code", "status", "status_code", "http_status"):
        number = str(found.get(key, ""))
        if number.isdecimal() and 400 <= int(number[:9]) < 600:
            return int(number)
    for status, meaning in (
        (429, r"rate.?limit|quota|overload|too many requests|resource_exhausted|insufficient"),
        (401, r"authenticat|unauthori[sz]ed|api.?key"),
        (403, r"permission|forbidden"),
        (404, r"model.{0,80}not.?(?:found|exist)|not_found_error|no such model|unknown model"),
        (400, r"invalid|bad.?request|validation|unsupported|exceed|too long|context"),
    ):
        if re.search(meaning, words):
            return status
    return 500
