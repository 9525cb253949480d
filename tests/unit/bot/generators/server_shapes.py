"""Answers of model servers, in the shapes that each family of servers is known to send.

Written down from the documentation and the public bug reports of the servers.
"""

from __future__ import annotations

from typing import Any


def completion(message: Any, finish: str | None = "stop", **choice: Any) -> dict[str, Any]:
    """Return a chat completion with one choice."""
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}],
    }


def saying(content: Any, **more: Any) -> dict[str, Any]:
    """Return a chat completion of the assistant."""
    return completion({"role": "assistant", "content": content, **more})


EVENTS = (
    'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n'
    'data: {"choices": [{"index": 0, "delta": {"content": "Fi"}}]}\n\n: ping\n\n'
    'data: {"choices": [{"index": 0, "delta": {"content": "ne."}, "finish_reason": "stop"}]}\n\n'
    'data: {"choices": [], "usage": {}}\n\ndata: [DONE]\n\n'
)

ANSWERS: dict[str, Any] = {
    "OpenAI, vLLM, llama.cpp, Ollama, LM Studio: a string": saying("Fine."),
    "vLLM: null reasoning beside it": saying("Fine.", reasoning_content=None, tool_calls=[], refusal=None),
    "DeepSeek, vLLM: thoughts beside it": saying("Fine.", reasoning_content="The user asks. I say: fine."),
    "OpenRouter: reasoning details": saying("Fine.", reasoning="hm", reasoning_details=[{"text": "hm"}]),
    "LiteLLM: an empty error": {**saying("Fine."), "error": None},
    "OpenAI: parts": saying([{"type": "text", "text": "Fine."}]),
    "Mistral Magistral: thoughts as a part": saying(
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "Fine."},
        ]
    ),
    "Anthropic-like: several parts": saying(
        [
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "Fi"},
            {"type": "text", "text": "ne."},
        ]
    ),
    "strings as parts": saying(["Fi", "ne."]),
    "a part with a value": saying([{"type": "text", "text": {"value": "Fine.", "annotations": []}}]),
    "one part, not in a list": saying({"type": "text", "text": "Fine."}),
    "OpenAI: a refusal in the model's words": saying(None, refusal="Fine."),
    "a refusal as a part": saying([{"type": "refusal", "refusal": "Fine."}]),
    "legacy completion": {
        "object": "text_completion",
        "choices": [{"text": "Fine.", "finish_reason": "stop"}],
    },
    "legacy text beside a null message": {"choices": [{"message": None, "text": "Fine."}]},
    "a delta instead of a message": {"choices": [{"delta": {"content": "Fine."}, "finish_reason": "stop"}]},
    "a message that is a string": {"choices": [{"message": "Fine."}]},
    "an empty choice before it": {"choices": [{}, saying("Fine.")["choices"][0]]},
    "a broken choice before it": {"choices": [None, saying("Fine.")["choices"][0]]},
    "Ollama, own": {"model": "tiny", "message": {"role": "assistant", "content": "Fine."}, "done": True},
    "Ollama, generate": {"model": "tiny", "response": "Fine.", "done": True, "done_reason": "stop"},
    "Anthropic, own": {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Fine."}],
        "stop_reason": "end_turn",
    },
    "Gemini, own": {
        "candidates": [
            {
                "content": {"parts": [{"text": "hm", "thought": True}, {"text": "Fine."}], "role": "model"},
                "finishReason": "STOP",
            }
        ]
    },
    "Responses API": {
        "object": "response",
        "error": None,
        "text": {"format": {"type": "text"}},
        "reasoning": {"effort": "low"},
        "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "Fine."}]},
        ],
    },
    "TGI, own": [{"generated_text": "Fine."}],
    "llama.cpp, own": {"content": "Fine.", "stop": True, "tokens_predicted": 2},
    "events that were not asked for": EVENTS,
}

ONLY_THOUGHTS: dict[str, Any] = {
    "vLLM": saying(None, reasoning_content="hm"),
    "OpenRouter": saying("", reasoning="hm"),
    "Ollama": saying("", thinking="hm"),
    "Magistral": saying([{"type": "thinking", "thinking": []}]),
}
"""Answers that hold thoughts and no reply."""

SILENCES: dict[str, tuple[Any, str]] = {
    "OpenAI: a tool call": (
        saying(None, tool_calls=[{"id": "1", "type": "function", "function": {"name": "f"}}]),
        "a tool call",
    ),
    "legacy function call": (saying(None, function_call={"name": "f", "arguments": "{}"}), "a tool call"),
    "Anthropic: a tool call": (
        {"type": "message", "content": [{"type": "tool_use", "name": "f"}], "stop_reason": "tool_use"},
        "a tool call",
    ),
    "Azure: filtered": (
        completion({"role": "assistant", "content": ""}, "content_filter"),
        "nothing, because of a content filter",
    ),
    "Gemini: filtered": (
        {"candidates": [{"finishReason": "SAFETY"}]},
        "nothing, because of a content filter",
    ),
    "OpenAI: null content": (saying(None), "no content"),
    "no choices": ({"id": "1", "object": "chat.completion", "choices": []}, "no choices"),
}

ERRORS: dict[str, tuple[Any, str]] = {
    "OpenRouter: an upstream": ({"error": {"message": "Provider returned error", "code": 502}}, "status 502"),
    "OpenRouter: in the choice": (
        completion(
            {"role": "assistant", "content": ""}, "error", error={"code": 429, "message": "slow down"}
        ),
        "is overloaded",
    ),
    "Ollama: a string": ({"error": "model runner has unexpectedly stopped"}, "status 500"),
    "a string about a key": ({"error": "Invalid API key"}, "refused the key"),
    "Anthropic: overloaded": (
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "is overloaded",
    ),
    "vLLM, old": (
        {"object": "error", "message": "boom", "type": "InternalServerError", "code": 500},
        "status 500",
    ),
    "Gemini: a list": (
        [{"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}],
        "is overloaded",
    ),
    "events with an error": ('data: {"error": {"message": "no", "code": 503}}\n\n', "status 503"),
}
