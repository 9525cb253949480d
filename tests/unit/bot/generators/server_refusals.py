"""Refusals of model servers, in the words that each family of servers is known to send.

Written down from the documentation and the public bug reports of the servers. Each refusal of a prompt "
    "that is
too long is a function of the limit and of the lengths that were asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TooLong = Callable[[int, int, int], tuple[int, Any]]
"""Takes the limit, the tokens of the prompt and the requested tokens; returns status and body."""


def _error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


TOO_LONG: dict[str, TooLong] = {
    "OpenAI": lambda n, p, m: (
        400,
        _error(
            f"This model's maximum context length is {n} tokens. However, your messages resulted in {p} "
            f"tokens. "
            "Please reduce the length of the messages.",
            type="invalid_request_error",
            param="messages",
            code="context_length_exceeded",
        ),
    ),
    "OpenAI, newer": lambda n, p, m: (
        400,
        _error(
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            code="context_length_exceeded",
            param="input",
        ),
    ),
    "vLLM, old": lambda n, p, m: (
        400,
        {
            "object": "error",
            "message": f"This model's maximum context length is {n} tokens. However, you requested "
            f"{p + m} tokens "
            f"({p} in the messages, {m} in the completion). Please reduce the length.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    "vLLM, new": lambda n, p, m: (
        400,
        _error(
            f"'max_tokens' or 'max_completion_tokens' is too large: {m}. This model's maximum context "
            f"length is "
            f"{n} tokens and your request has {p} input tokens ({m} > {n} - {p}).",
            type="BadRequestError",
            param="max_tokens",
            code=400,
        ),
    ),
    "vLLM, prompt": lambda n, p, m: (
        400,
        _error(
            f"The decoder prompt (length {p}) is longer than the maximum model length of {n}. Make sure that "
            "`max_model_len` is no smaller than the number of text tokens."
        ),
    ),
    "SGLang": lambda n, p, m: (
        400,
        {
            "object": "error",
            "message": f"Requested token count exceeds the model's maximum context length of {n} tokens. You "
            f"requested a total of {p + m} tokens: {p} tokens from the input messages and {m} tokens for the "
            "completion.",
        },
    ),
    "llama.cpp": lambda n, p, m: (
        400,
        _error(
            "the request exceeds the available context size, try increasing it",
            code=400,
            type="exceed_context_size_error",
            n_prompt_tokens=p,
            n_ctx=n,
        ),
    ),
    "llama.cpp, old": lambda n, p, m: (
        500,
        _error(
            "the request exceeds the available context size. try increasing the context size or enable "
            "context "
            "shift",
            code=500,
            type="server_error",
        ),
    ),
    "llama.cpp, batch": lambda n, p, m: (
        500,
        _error(
            "input is too large to process. increase the physical batch size", code=500, type="server_error"
        ),
    ),
    "Ollama": lambda n, p, m: (
        400,
        {"error": f"prompt too long; exceeded max context length by {p + m - n} tokens"},
    ),
    "LM Studio": lambda n, p, m: (
        400,
        {
            "error": f"Trying to keep the first {p} tokens when context the overflows. However, the "
            f"model is loaded "
            f"with context length of only {n} tokens, which is not enough."
        },
    ),
    "Anthropic": lambda n, p, m: (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": f"prompt is too long: {p} tokens > {n} maximum",
            },
        },
    ),
    "Anthropic, with the reply": lambda n, p, m: (
        400,
        _error(
            f"input length and `max_tokens` exceed context limit: {p} + {m} > {n}, decrease input length or "
            "`max_tokens` and try again"
        ),
    ),
    "TGI": lambda n, p, m: (
        422,
        {
            "error": f"Input validation error: `inputs` tokens + `max_new_tokens` must be <= {n}. "
            f"Given: {p} `inputs` "
            f"tokens and {m} `max_new_tokens`",
            "error_type": "validation",
        },
    ),
    "TGI, prompt": lambda n, p, m: (
        422,
        {"error": f"Input validation error: `inputs` must have less than {n} tokens. Given: {p}"},
    ),
    "Gemini": lambda n, p, m: (
        400,
        [
            _error(
                f"The input token count ({p}) exceeds the maximum number of tokens allowed ({n}).",
                code=400,
                status="INVALID_ARGUMENT",
            )
        ],
    ),
    "Mistral": lambda n, p, m: (
        400,
        {
            "object": "error",
            "message": f"Prompt contains {p} tokens and 0 draft tokens, too large for model with {n} "
            f"maximum context "
            "length",
            "type": "invalid_request_invalid_args",
            "code": "3051",
        },
    ),
    "OpenRouter": lambda n, p, m: (
        400,
        _error(
            f"This endpoint's maximum context length is {n} tokens. However, you requested about "
            f"{p + m} tokens "
            f"({p} of text input, {m} in the output). Please reduce the length of either one.",
            code=400,
            metadata={"provider_name": None},
        ),
    ),
    "OpenRouter, in a 200": lambda n, p, m: (
        200,
        _error(
            "Provider returned error",
            code=400,
            metadata={"raw": f"prompt is too long: {p} tokens > {n} maximum"},
        ),
    ),
    "LiteLLM": lambda n, p, m: (
        400,
        _error(
            "litellm.ContextWindowExceededError: litellm.BadRequestError: OpenAIException - Error code: "
            "400 - This "
            f"model's maximum context length is {n} tokens. However, your messages resulted in {p} tokens.",
            type=None,
            param=None,
            code="400",
        ),
    ),
    "xAI": lambda n, p, m: (
        400,
        {
            "code": "Client specified an invalid argument",
            "error": f"This model's maximum prompt length is {n} but the request contains {p} tokens.",
        },
    ),
    "Cohere": lambda n, p, m: (
        400,
        {
            "message": "too many tokens: total number of tokens in the prompt cannot exceed "
            f"{n} - received {p}. Try using a shorter prompt."
        },
    ),
    "Moonshot": lambda n, p, m: (
        400,
        _error(
            f"Invalid request: Your request exceeded model token limit: {n} (requested: {p + m})",
            type="invalid_request_error",
        ),
    ),
    "DashScope": lambda n, p, m: (
        400,
        _error(f"Range of input length should be [1, {n}]", code="invalid_parameter"),
    ),
    "in Chinese": lambda n, p, m: (400, _error(f"输入长度超过模型限制（{p} > {n}）")),
    "Zhipu": lambda n, p, m: (400, _error("Prompt exceeds max length", code="1261")),
    "TabbyAPI": lambda n, p, m: (422, {"detail": f"Prompt length {p} is greater than max_seq_len {n}"}),
    "Bedrock": lambda n, p, m: (400, {"message": "Input is too long for requested model."}),
    "a body that is too large": lambda n, p, m: (413, "<html>413 Request Entity Too Large</html>"),
    "unknown words": lambda n, p, m: (400, {"detail": "no"}),
}

OTHER_REFUSALS: dict[str, Any] = {
    "OpenAI, temperature": _error(
        "Unsupported value: 'temperature' does not support 0.5", param="temperature"
    ),
    "Anthropic": _error("`temperature` and `top_p` cannot both be specified for this model."),
    "TGI": {"error": "Input validation error: `top_p` must be > 0.0 and < 1.0", "error_type": "validation"},
    "FastAPI": {"detail": [{"loc": ["body", "top_p"], "msg": "Input should be less than or equal to 1"}]},
    "Gemma's template": _error("System role not supported", type="BadRequestError"),
    "Mistral's template": _error(
        "After the optional system message, conversation roles must alternate "
        "user/assistant/user/assistant/..."
    ),
    "OpenAI, reply": _error(
        "max_tokens is too large: 96. This model supports at most 64 completion tokens", param="max_tokens"
    ),
    "OpenAI, name": _error(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
        param="max_tokens",
    ),
    "unknown": {"error": "bad request"},
}
