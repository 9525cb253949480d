"""Generator that asks an OpenAI-compatible server: vLLM, llama.cpp, Ollama, or a hosted one.

It requests one chat completion per style, all concurrently. Failed requests are left out, so that one slow or
broken answer does not silence the bot. If all fail, the error names the address and says what to check.
Neither texts nor the key are ever logged. Exceptions of the client library may quote the request, so they are
not chained to ours.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import openai
from openai import AsyncOpenAI

from bot.config import read_secret
from bot.generation import (
    Candidate,
    Context,
    GeneratorError,
    GeneratorUnavailable,
    ModelMissing,
    Picture,
    Style,
)
from bot.generators.cleaning import Written, candidates_of, clean, names_of, thinks
from bot.generators.continuing import grown
from bot.generators.prompt import Message, estimate, estimated_cut, fit, messages_of, system_text
from bot.generators.role_markers import defuse
from bot.generators.thinking import Quietness
from bot.proxies import is_loopback
from bot.settings import GeneratorSettings
from personalization.loading_errors import broken_package

log = logging.getLogger(__name__)

_NO_KEY = "none"
"""Placeholder when no key is configured: local servers need none, but the client requires one."""

_TOP_P = 0.9


class OpenAIGenerator:
    """A language model behind an OpenAI-compatible server.

    Args:
        settings: Address, model, timeout, retries, persona and token budgets.
        environ: Mapping in which the variable with the key is looked up.

    Raises:
        ConfigError: The key holds a character that no key has, such as a line end.
        ModelMissing: ``model`` is ``packaged``, which is not the name of a model on a server.
        GeneratorUnavailable: The environment names a proxy that cannot be used.
    """

    def __init__(self, settings: GeneratorSettings, environ: Mapping[str, str] = os.environ) -> None:
        if settings.model == "packaged":
            raise ModelMissing(
                '[generator] kind = "openai" needs the server\'s name for the model; found "packaged", '
                'which is the embedded one. Set model, or kind = "local"'
            )
        self._settings = settings
        self._address = _without_password(settings.base_url)
        self._dialects: dict[str, _Dialect] = {}
        _keep_texts_out_of_logs()
        self._client = AsyncOpenAI(
            base_url=settings.base_url,
            api_key=read_secret(settings.api_key_env, environ) or _NO_KEY,
            timeout=settings.timeout_s,
            max_retries=settings.retries,
            http_client=_http_client(settings.base_url),
        )

    @property
    def name(self) -> str:
        """Model and server in words."""
        return f"{self._settings.model} at {self._address}"

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        """Request one candidate per style; leave out failed, blank and repeated ones.

        Raises:
            ModelMissing: The server does not know the model.
            GeneratorUnavailable: No request succeeded.
            OnlyThoughts: The model thought and gave no answer.
            GeneratorError: All candidates were blank.
        """
        requests = await asyncio.to_thread(lambda: [self._request(context, style) for style in styles])
        async with asyncio.TaskGroup() as group:
            asked: list[asyncio.Task[Written | GeneratorError]] = []
            for style, request in zip(styles, requests, strict=True):
                asked.append(group.create_task(self._ask(context, style, request)))
                await asyncio.sleep(0)  # a body with pictures takes 50 ms to write, and other tasks wait
        answers = [task.result() for task in asked]
        written = [answer for answer in answers if isinstance(answer, Written)]
        failures = [answer for answer in answers if isinstance(answer, GeneratorError)]
        if failures and not written:
            raise next((f for f in failures if isinstance(f, ModelMissing)), failures[0])
        if failures:
            log.warning("%d of %d requests to the model server failed", len(failures), len(answers))
        names = names_of(context, self._settings.persona)
        return candidates_of(written, drafts=self._settings.drafts, names=names)

    async def continued(self, context: Context, style: Style, begun: str) -> AsyncGenerator[str]:
        """Continue a candidate; see :meth:`bot.generation.CandidateGenerator.continued`.

        The server must treat an assistant message at the end as unfinished. llama.cpp and Ollama do so by
        default, vLLM needs two parameters, which the others ignore.

        Raises:
            GeneratorUnavailable: The server aborted the stream, or cannot continue a message.
            ModelMissing: The server no longer has the model.
        """
        request = await asyncio.to_thread(self._request, context, style)
        request["messages"].append({"role": "assistant", "content": defuse(begun)})
        request |= {"stream": True, "max_tokens": style.tokens(self._settings.further_tokens)}
        request["extra_body"] = {"add_generation_prompt": False, "continue_final_message": True}
        model, more, finish = self._model(context), "", None
        names = names_of(context, self._settings.persona)
        try:
            async with await self._complete(model, request) as stream:
                async for chunk in stream:
                    for choice in chunk.choices[:1]:
                        more += choice.delta.content or ""
                        finish = choice.finish_reason or finish
                    yield grown(begun, more, cut_off=True, names=names)
        except openai.APIError as exc:
            raise self._explained(exc, model) from None
        except (ValueError, TypeError, AttributeError):  # the body was not a stream of chat completions
            raise self._not_understood() from None
        yield grown(begun, more, cut_off=finish in ("length", None), names=names)

    async def offered(self) -> list[str]:
        """Return the models that the server lists; empty if it has no list. Generates nothing.

        Raises:
            GeneratorUnavailable: The server cannot be reached or refuses the key.
        """
        try:
            return [model.id async for model in self._client.models.list()]
        except openai.NotFoundError:  # some servers offer only completions
            return []
        except openai.APIError as exc:
            raise self._explained(exc, self._settings.model) from None
        except (ValueError, TypeError, AttributeError):  # the body was not a list of models
            raise self._not_understood() from None

    def use_persona(self, persona: str) -> None:
        """Use another persona from the next prompt on."""
        self._settings = replace(self._settings, persona=persona)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.close()

    async def _ask(self, context: Context, style: Style, request: dict[str, Any]) -> Written | GeneratorError:
        """Request one candidate; return a failure, so that the other candidates can still be used.

        A model that is seen to think though it has no budget for it is asked not to. If it gave no answer, it
        is asked again at once.
        """
        model = self._model(context)
        quiet = self._dialect(model).quiet
        try:
            asked = quiet.asked
            written = _written(await self._complete(model, request), style)
            if written and not self._settings.thinking_tokens and thinks(written):
                quiet.asked = True
                if not asked and not clean(written.text):
                    written = _written(await self._complete(model, request), style)
        except openai.APIError as exc:
            return self._explained(exc, model)
        except ValueError:  # the body was not JSON
            return self._not_understood()
        return written or self._not_understood()

    def _model(self, context: Context) -> str:
        """Return the name of the model to ask."""
        return context.model or self._settings.model

    def _request(self, context: Context, style: Style) -> dict[str, Any]:
        """Return the body of a request for one style. Blocks for up to 50 ms; call from a thread."""
        system = system_text(context.persona_or(self._settings.persona), style)
        fitted = fit(context, system, self._settings.context_tokens, estimate, estimated_cut)
        messages = with_pictures(messages_of(system, fitted), context.pictures)
        limit = style.tokens(self._settings.candidate_tokens) + self._settings.thinking_tokens
        return {"messages": messages, "temperature": style.temperature, "max_tokens": limit}

    async def _complete(self, model: str, request: dict[str, Any]) -> Any:
        """Send one request; parameters that the model refuses are renamed or left out from then on."""
        dialect = self._dialect(model)
        while True:
            quiet = dialect.quiet.options()
            sent = dialect.written(request, quiet | self._settings.extra_body)
            try:
                return await self._client.chat.completions.create(model=model, **sent)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as exc:
                if exc.param in ("max_tokens", "temperature", "top_p") and exc.param in sent:
                    dialect.refuse(exc.param)
                elif not dialect.quiet.refused(quiet, exc.param):
                    raise

    def _dialect(self, model: str) -> _Dialect:
        return self._dialects.setdefault(model, _Dialect())

    def _explained(self, exc: openai.APIError, model: str) -> GeneratorError:
        """Convert a client error into one that says what to check.

        The message never quotes the answer of the server, which may quote the request.
        """
        match exc:
            case openai.NotFoundError() | openai.APIStatusError(code="model_not_found"):
                return ModelMissing(
                    f'the model server at {self._address} knows no model "{model}" (or has no '
                    "chat/completions at this address); check [generator] model and base_url"
                )
            case openai.APITimeoutError():
                return self._unavailable(
                    f"did not answer within {self._settings.timeout_s:g} s; it may be overloaded, or "
                    "[generator] timeout_s too low"
                )
            case openai.APIConnectionError():
                return self._unavailable("cannot be reached; check that it is running and base_url is right")
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return self._unavailable(
                    f"refused the key; check the environment variable {self._settings.api_key_env}"
                )
            case openai.RateLimitError():
                return self._unavailable("is overloaded or the quota is used up; try again later")
            case openai.APIStatusError():
                return self._unavailable(f"answered with HTTP status {exc.status_code}; see the server's log")
            case _:
                return self._not_understood()

    def _not_understood(self) -> GeneratorError:
        return self._unavailable(
            "did not answer with a chat completion; check base_url, which often ends in /v1"
        )

    def _unavailable(self, what: str) -> GeneratorUnavailable:
        return GeneratorUnavailable(f"the model server at {self._address} {what}")


def with_pictures(messages: Sequence[Message], pictures: Sequence[Picture]) -> list[Any]:
    """Append pictures to the last message as data URLs, so that the server fetches nothing."""
    if not pictures:
        return list(messages)
    *earlier, last = messages
    parts: list[dict[str, Any]] = [{"type": "text", "text": last["content"]}]
    for picture in pictures:
        data = base64.b64encode(picture.raw).decode()
        url = f"data:{picture.media_type};base64,{data}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return [*earlier, {"role": last["role"], "content": parts}]


class _Dialect:
    """Sampling parameters that one model accepts, and their names.

    Attributes:
        quiet: How the model is asked not to think.
    """

    def __init__(self) -> None:
        self.quiet = Quietness()
        self._sampling: dict[str, Any] = {"top_p": _TOP_P}
        self._refused: set[str] = set()

    def written(self, request: dict[str, Any], further: dict[str, Any]) -> dict[str, Any]:
        """Return the request with all parameters that the model accepts, and further ones."""
        sent = self._sampling | request
        if body := request.get("extra_body", {}) | further:
            sent["extra_body"] = body
        if "max_tokens" in self._refused:  # newer hosted models only know it by another name
            sent["max_completion_tokens"] = sent["max_tokens"]
        return {key: value for key, value in sent.items() if key not in self._refused}

    def refuse(self, parameter: str) -> None:
        """Stop sending a parameter."""
        self._refused.add(parameter)


def _written(answer: Any, style: Style) -> Written | None:
    """Return the raw output, or None if the answer is not a chat completion; the client does not check."""
    choices = getattr(answer, "choices", None)
    if not isinstance(choices, list) or not choices:
        return None
    message = getattr(choices[0], "message", None)
    text = getattr(message, "content", None)
    cut_off = getattr(choices[0], "finish_reason", None) == "length"
    thought = _is_thought(message) or _hidden_thoughts(answer) > 0
    if not isinstance(text, str) and not (text is None and thought):
        return None
    return Written(text or "", style.name, cut_off, thought)


def _is_thought(message: Any) -> bool:
    """Return whether a message holds thoughts beside its answer, by the names that servers give them."""
    names = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
    return any(getattr(message, name, None) for name in names)


def _hidden_thoughts(answer: Any) -> int:
    """Return the number of tokens of thoughts that a hosted server does not show."""
    details = getattr(getattr(answer, "usage", None), "completion_tokens_details", None)
    number = getattr(details, "reasoning_tokens", None)
    return number if isinstance(number, int) else 0


def _http_client(base_url: str) -> openai.DefaultAsyncHttpxClient:
    """Return a client that uses the proxies of the environment, except for a server on this machine.

    Raises:
        GeneratorUnavailable: The environment names a proxy that cannot be used.
    """
    try:
        return openai.DefaultAsyncHttpxClient(trust_env=not is_loopback(urlsplit(base_url).hostname or ""))
    except (ImportError, ValueError) as exc:
        why = broken_package(exc) or "a proxy in the environment has no valid address"
        raise GeneratorUnavailable(f"{why}; check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY") from None


def _without_password(address: str) -> str:
    """Return an address for display, without user, password, query and fragment."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _keep_texts_out_of_logs() -> None:
    """Keep the client library above DEBUG, at which it logs whole requests."""
    for name in ("openai", "httpx2", "httpcore2"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.INFO))
