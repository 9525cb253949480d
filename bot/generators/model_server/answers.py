"""Reads the body of an answer in every shape that model servers send.

The shapes: a chat completion whose content is a string, a list of parts or null; a legacy completion; the own
answers of Ollama, Anthropic, Gemini, TGI, llama.cpp and the Responses API; server-sent events although none
were asked for; an error object under HTTP status 200. What is no reply is told apart by name. Pure functions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from bot.generators.model_server.refusals import Refusal

_CUT_OFF = {"length", "max_tokens", "max_output_tokens", "model_length"}
_REASONING = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks")
_TEXT_PARTS = {None, "text", "output_text", "message", "refusal"}


@dataclass(frozen=True, slots=True)
class Said:
    """Text of the model.

    Attributes:
        text: The answer.
        cut_off: Whether the token limit cut it off.
        thought: Whether the server has taken thoughts out of the text.
        timings: Times of reading and writing, as llama.cpp reports them.
    """

    text: str = field(repr=False)
    cut_off: bool
    thought: bool = False
    timings: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)


class Silence(StrEnum):
    """Answer without a reply; the value says what the server sent."""

    REASONING = "only its reasoning"
    TOOL_CALL = "a tool call"
    FILTERED = "nothing, because of a content filter"
    NO_CHOICES = "no choices"
    NO_CONTENT = "no content"
    NOT_A_COMPLETION = "no chat completion"


def read_answer(body: str) -> Said | Silence | Refusal:
    """Return what an answer with HTTP status 200 says.

    Args:
        body: The whole body.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = _from_events(body)
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict):
        return Silence.NOT_A_COMPLETION
    if data.get("error") or "error" in (data.get("object"), data.get("type")):
        return Refusal.from_body(data)
    if data.get("choices") == []:
        return Silence.NO_CHOICES
    silence = Silence.NOT_A_COMPLETION
    for choice in _choices(data):
        if choice.get("error"):
            return Refusal.from_body(choice["error"])
        found = _read_choice(choice)
        if isinstance(found, Said):
            timings = data.get("timings")
            return replace(
                found,
                thought=found.thought or _hidden_thoughts(data) > 0,
                timings=timings if isinstance(timings, dict) else {},
            )
        silence = found
    if silence is Silence.NO_CONTENT and _hidden_thoughts(data):
        return Silence.REASONING
    return silence


def _hidden_thoughts(data: dict[str, Any]) -> int:
    """Return the number of tokens of thoughts that a hosted server does not show."""
    usage = data.get("usage")
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    number = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return number if isinstance(number, int) else 0


def text_of(content: Any, depth: int = 0) -> str | None:
    """Return the text of a content: a string, a part, or a list of parts; None if it holds no text.

    Parts that are thoughts, tool calls or pictures are left out.
    """
    if isinstance(content, str):
        return content
    if depth > 6:
        return None
    if isinstance(content, dict):
        if content.get("type") not in _TEXT_PARTS or content.get("thought") is True:
            return None
        held = (content.get(key) for key in ("text", "value", "content", "parts", "refusal"))
        return next((text for one in held if (text := text_of(one, depth + 1)) is not None), None)
    if isinstance(content, list):
        texts = [text for part in content if (text := text_of(part, depth + 1)) is not None]
        return "".join(texts) if texts else None
    return None


def _choices(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the choices of an answer; servers with an own shape have the only choice at the top."""
    listed = data.get("choices", data.get("candidates"))
    if isinstance(listed, list):
        yield from (choice for choice in listed if isinstance(choice, dict))
    else:
        yield data


def _read_choice(choice: dict[str, Any]) -> Said | Silence:
    message = choice.get("message", choice.get("delta"))
    inner = message if isinstance(message, dict) else {"content": message}
    holders = (inner, choice)
    finish = next(
        (
            choice[key]
            for key in ("finish_reason", "stop_reason", "finishReason", "done_reason")
            if choice.get(key)
        ),
        "",
    )
    finish = str(finish).casefold()
    contents = (
        inner.get("content"),
        *(
            choice.get(key)
            for key in ("text", "content", "output_text", "output", "generated_text", "response")
        ),
    )
    texts = [text for content in contents if (text := text_of(content)) is not None]
    thought = _has_part(contents, "thinking", "reason") or any(
        holder.get(key) for holder in holders for key in _REASONING
    )
    if (text := next((text for text in texts if text.strip()), None)) is not None:
        return Said(text, finish in _CUT_OFF, thought)
    if isinstance(refusal := inner.get("refusal"), str) and refusal.strip():
        return Said(refusal, cut_off=False)  # the model's own words
    if any(inner.get(key) for key in ("tool_calls", "function_call")) or _has_part(contents, "tool"):
        return Silence.TOOL_CALL
    if thought:
        return Silence.REASONING
    if finish in ("content_filter", "safety", "recitation", "refusal", "prohibited_content", "blocklist"):
        return Silence.FILTERED
    if texts:
        return Said(texts[0], finish in _CUT_OFF)  # blank
    return Silence.NO_CONTENT if finish else Silence.NOT_A_COMPLETION


def _has_part(contents: tuple[Any, ...], *kinds: str) -> bool:
    """Return whether a content holds a part whose type contains one of the words."""
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return any(
        kind in str(part.get("type", "")) for part in parts if isinstance(part, dict) for kind in kinds
    )


def _from_events(body: str) -> Any:
    """Return the answer in a body of server-sent events, as one choice; None if it is none."""
    texts: list[str] = []
    finish = None
    for line in body.splitlines():
        if not line.startswith("data:") or line[5:].strip() == "[DONE]":
            continue
        try:
            event = json.loads(line[5:])
        except (ValueError, RecursionError):
            return None
        if not isinstance(event, dict):
            return None
        if event.get("error"):
            return event
        for choice in list(_choices(event))[:1]:
            texts.append(text_of((choice.get("delta") or {}).get("content")) or "")
            finish = choice.get("finish_reason") or finish
    return {"choices": [{"text": "".join(texts), "finish_reason": finish}]} if texts else None
