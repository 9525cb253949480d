"""Thinking models: asks them to think or not, and finds where their thoughts end.

``[generator] thinking_tokens`` is the budget for thoughts, apart from the length of the reply; 0 asks for no
thoughts. Model families name this option differently. A chat template ignores options that it does not know,
so it is given all of them. A server may refuse an unknown option, so it is asked only once its model was seen
to think, and with fewer options each time that it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bot.generators.marks import MARK, MENTIONED, OPENING, THOUGHTS, behind_turns, kind_of, marks_in

_HEADER = re.compile(
    r"\s{0,9}(?:<\|start\|>\s{0,3}assistant[^<\n]{0,60})?(?:<\|channel\|>)?(analysis|commentary|final)[^<\n]{0,60}"
    r"(?:<\|constrain\|>[a-z]{1,20})?<\|message\|>"
)
_HEADER_END = re.compile(r"(?<![`\"'])<\|(?:end|return|call|start|channel)\|>")
_BARE_HEADER = re.compile(r"\s{0,9}(?:analysis|commentary)(?=[A-Z])")
_BARE_FINAL = "assistantfinal"
_BLOCK_QUOTE = re.compile(r"[ \t]{0,4}>[> \t]{0,4}")
_CHANNELS = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")
_BEGINS = re.compile("start|begin|START|BEGIN")
_END_WORDS = {"start": "end", "begin": "end", "START": "END", "BEGIN": "END"}
_ENDS = {
    "<unused94>": "<unused95>",
    "<unused94>thought": "<unused95>",
    "<ctrl94>": "<ctrl95>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<|channel>thought": "<channel|>",
    "Here is my thought process:": "\nHere is my response:",
}
NO_THOUGHT = "<think>\n\n</think>\n\n"
"""Beginning of an answer that leaves the thought out."""

_OFF = {"enable_thinking": False, "thinking": False}
_WAYS: tuple[dict[str, Any], ...] = (
    {"chat_template_kwargs": _OFF, "reasoning_effort": "none"},  # vLLM, llama.cpp, Ollama, SGLang
    {"chat_template_kwargs": _OFF},
    {"reasoning_effort": "none"},  # hosted ones
    {"reasoning_effort": "minimal"},
    {"reasoning_effort": "low"},
)
"""Parameters that ask a server's model not to think, the best first. Each server refuses some of them."""


def template_options(template: str, thinking_tokens: int) -> dict[str, Any]:
    """Return the options of a chat template for thoughts of at most so many tokens.

    The names are those of Qwen, GLM and SmolLM; DeepSeek and Granite; Seed; gpt-oss and Mistral.
    """
    if thinking_tokens:
        return {"enable_thinking": True, "thinking": True, "thinking_budget": thinking_tokens}
    effort = "low" if "<|channel|>" in template else "none"  # gpt-oss always thinks
    return _OFF | {"thinking_budget": 0, "reasoning_effort": effort}


def opens_thought(template: str, options: Mapping[str, Any]) -> bool:
    """Return whether a chat template begins a thought for the model, so that its output starts within it."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(raise_exception=_refuse, strftime_now=lambda _: "")
    values = {"bos_token": "", "eos_token": "", "add_generation_prompt": True, **options}
    try:
        prompt = environment.from_string(template).render(
            messages=[{"role": "user", "content": "Hi"}], **values
        )
    except (TemplateError, TypeError, ValueError, KeyError):  # it needs what only its runtime has
        return False
    return opened_thought(prompt) is not None


def _refuse(message: str) -> None:
    raise TemplateError(message)


class Quietness:
    """What a server is told so that its model does not think: learnt for one model.

    Attributes:
        asked: Whether the model was seen to think and is asked not to.
    """

    def __init__(self) -> None:
        self.asked = False
        self._ways = list(_WAYS)

    def options(self) -> dict[str, Any]:
        """Return the parameters to add to the body of a request."""
        return dict(self._ways[0]) if self.asked and self._ways else {}

    def refused(self, sent: Mapping[str, Any], parameter: str | None) -> bool:
        """Ask in another way after a refusal; return False if this request asked for nothing.

        Args:
            sent: What :meth:`options` returned for the request; several may be refused at once.
            parameter: What the server named; None or another name: it did not say what it refuses.
        """
        if sent and sent == self.options():
            named = parameter if parameter in sent else None
            self._ways = [way for way in self._ways[1:] if not named or way.get(named) != sent[named]]
        return bool(sent)


def opened_thought(prompt: str) -> str | None:
    """Return the mark that ends the thought which a prompt opens at its end; None: it opens none."""
    found = list(MARK.finditer(prompt, max(0, len(prompt) - 80)))
    return None if not found or prompt[found[-1].end() :].strip() else _end_of(found[-1])


def unfinished_thought(text: str, *, opened: bool) -> bool:
    """Return whether a raw output, folded, so far ends within a thought."""
    return behind_thoughts(f"{text} .", opened)[0] > len(text)


def has_thought(text: str, *, opened: bool) -> bool:
    """Return whether a raw output, folded, begins with a thought."""
    return behind_thoughts(text, opened)[1]


def end_of_thought(text: str) -> str | None:
    """Return the mark that ends the thought at the start of a raw output; None: it has none there."""
    begin = MARK.match(text, behind_turns(text, 0))
    return None if begin is None else _end_of(begin)


def is_thought_mark(token: str) -> bool:
    """Return whether a token of a tokenizer is needed to tell thoughts from the answer."""
    match = MARK.fullmatch(token.strip())
    return token in _CHANNELS or (match is not None and 0 <= kind_of(match)[1] < len(THOUGHTS))


def _end_of(begin: re.Match[str]) -> str | None:
    mark, (kind, row) = begin.group(), kind_of(begin)
    if kind != "open" or row >= len(THOUGHTS):
        return None
    if mark in _ENDS:
        return _ENDS[mark]
    if mark.startswith("<|") and (named := _BEGINS.sub(lambda word: _END_WORDS[word.group()], mark)) != mark:
        return named
    return f"<|/{mark[2:]}" if mark.startswith("<|") else f"{mark[0]}/{mark[1:]}"


def behind_thoughts(plain: str, opened: bool) -> tuple[int, bool]:
    """Return where the answer begins behind the thoughts at the start, and whether there are any."""
    start = _behind_channels(plain)
    if start:
        return start, True
    found = [match for match in MARK.finditer(plain) if 0 <= kind_of(match)[1] < len(THOUGHTS)]
    thought, index = False, 0
    if opened:
        index = _next(found, 0, "close", None, plain)
        if index == len(found):
            return len(plain), True
        start, thought, index = found[index].end(), True, index + 1
    while index < len(found):
        begin = found[index]
        kind, row = kind_of(begin)
        if kind != "open" or begin.start() != behind_turns(plain, start):
            break
        end = _next(found, index + 1, "close", row, plain)
        if _is_mentioned(plain, begin, found[end] if end < len(found) else None):
            break
        if end == len(found):
            return len(plain), True
        start, thought, index = found[end].end(), True, end + 1
    lone = _behind_lone_end(plain[start:])
    return (start + lone, True) if lone else (start, thought)


def _behind_lone_end(plain: str) -> int:
    """Return where the text goes on behind the last end of a thought whose beginning is not in the text."""
    position, begun = 0, set[int]()
    for mark in marks_in(plain, fences_only=True):
        if 0 <= mark.row < len(THOUGHTS) and mark.acts:
            if mark.kind == "open":
                begun.add(mark.row)
            elif mark.row in begun:
                begun.discard(mark.row)
            elif not _BLOCK_QUOTE.fullmatch(plain[max(0, mark.start - 8) : mark.start].rpartition("\n")[2]):
                position = mark.end
    return position


def _behind_channels(plain: str) -> int:
    """Return where the final channel of a gpt-oss answer begins; 0: the text has no channels."""
    if _BARE_HEADER.match(plain):  # the tokenizer left out the control tokens
        final = plain.rfind(_BARE_FINAL)
        return final + len(_BARE_FINAL) if final >= 0 else len(plain)
    position = 0
    while header := _HEADER.match(plain, position):
        position = header.end()
        if header.group(1) == "final":
            break
        end = _HEADER_END.search(plain, position)
        if end is None:
            return len(plain)
        position = end.start() if end.group() in ("<|start|>", "<|channel|>") else end.end()
    return position


def _next(found: list[re.Match[str]], index: int, kind: str, row: int | None, plain: str) -> int:
    """Return the index of the next such mark that is not the whole inside of quotes or backticks."""
    while index < len(found):
        match = found[index]
        if kind_of(match)[0] == kind and row in (None, kind_of(match)[1]):
            around = plain[match.start() - 1 : match.start()], plain[match.end() : match.end() + 1]
            if not (around[0] in OPENING and around[1] in OPENING and all(around)):
                break
        index += 1
    return index


def _is_mentioned(plain: str, begin: re.Match[str], end: re.Match[str] | None) -> bool:
    """Return whether a sentence at the start is about a mark, as in "<think> is a tag of DeepSeek"."""
    if end is None:
        return MENTIONED.match(plain, begin.end()) is not None
    inside = plain[begin.end() : min(end.start(), begin.end() + 40)]
    short = end.start() - begin.end() < 40 and "\n" not in inside
    return short and MENTIONED.match(plain, end.end()) is not None
