"""Generator that asks an OpenAI-compatible server: vLLM, llama.cpp, Ollama, or a hosted one.

It requests one chat completion per style, concurrently, or one after another where that is faster
(:class:`~bot.generators.model_server.known.Pace`). Failed and hanging requests are left out once there is a
candidate. If all fail, the error names the address and says what to check. How servers differ:
:mod:`bot.generators.model_server`. Neither texts nor the key are ever logged. Exceptions of the client
library may quote the request, so they are not chained to ours.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import openai

from bot.config import read_secret
from bot.generation import Candidate, Context, Enough, GeneratorError, ModelMissing, Style
from bot.generators.cleaning import Written, candidates_of, clean, names_of, thinks
from bot.generators.continuing import grown
from bot.generators.model_server.answers import Said, Silence, read_answer, text_of
from bot.generators.model_server.connection import ServerClient, keep_texts_out_of_logs, without_password
from bot.generators.model_server.dialects import Longest
from bot.generators.model_server.explaining import Explaining
from bot.generators.model_server.fitting import Fitting
from bot.generators.model_server.known import Known, Turns
from bot.generators.model_server.pictures import with_pictures
from bot.generators.model_server.refusals import Refusal
from bot.generators.model_server.stragglers import Answers, Patience, is_candidate, none_is_needed
from bot.generators.prompt import messages_of, with_note
from bot.generators.role_markers import defuse
from bot.memory import Leaving
from bot.settings import GeneratorSettings

_NO_KEY = "none"
"""Placeholder when no key is configured: local servers need none, but the client requires one."""

_TOP_P = 0.9
_ATTEMPTS = 8
"""How often a prompt that is too long for the server is sent, each time shorter."""
_SHORTEST_REPLY = 16
"""Shortest reply that is asked for when the server has no room for a longer one, tokens."""


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
        self._address = without_password(settings.base_url)
        self._models: dict[str, Known] = {}
        self._says = Explaining(self._address, settings)
        self._patience = Patience(settings.timeout_s, settings.retries)
        keep_texts_out_of_logs()
        self._client = ServerClient(
            base_url=settings.base_url,
            api_key=read_secret(settings.api_key_env, environ) or _NO_KEY,
            timeout=settings.timeout_s,
            max_retries=settings.retries,
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
        return await self.generate_until(context, styles)

    async def generate_until(
        self, context: Context, styles: Sequence[Style], enough: Enough | None = None
    ) -> list[Candidate]:
        """Generate until the candidates are enough, then cancel the other requests, which closes them.

        Raises:
            GeneratorError: As for :meth:`generate`.
        """
        tasks: list[asyncio.Task[Written | GeneratorError]] = []
        context = await self._fitted(context, styles)
        turns = self._known(self._model(context)).pace.turns(context, len(styles))
        for style in styles:
            tasks.append(asyncio.create_task(self._ask(context, style, turns)))
            await asyncio.sleep(0)  # a body with pictures takes 50 ms to write, and other tasks wait
        usable = partial(self._candidates, names_of(context, self._settings.persona))
        is_enough = None if enough is None else partial(none_is_needed, enough, styles, usable)
        answers, stopped = await self._patience.gather(tasks, is_candidate, is_enough)
        failures = [answer for answer in answers if isinstance(answer, GeneratorError)]
        if not any(isinstance(answer, Written) for answer in answers):
            failures.sort(key=lambda failure: not isinstance(failure, ModelMissing))
            raise (failures or [self._says.of_timeout()])[0]
        if missing := [*failures, *([] if stopped else [None] * answers.count(None))]:
            self._says.in_log(missing, len(answers))
        return usable(answers)

    async def continued(self, context: Context, style: Style, begun: str) -> AsyncGenerator[str]:
        """Continue a candidate; see :meth:`bot.generation.CandidateGenerator.continued`.

        The server must treat an assistant message at the end as unfinished. llama.cpp and Ollama do so by
        default, vLLM needs two parameters, which the others ignore.

        Raises:
            GeneratorUnavailable: The server aborted the stream, or cannot continue a message.
            ModelMissing: The server no longer has the model.
        """
        context = await self._fitted(context, [style])
        model, more, finish = self._model(context), "", None
        names = names_of(context, self._settings.persona)
        try:
            async with await self._complete(model, context, style, begun) as stream:
                async for chunk in stream:
                    for choice in (chunk.choices or [])[:1]:
                        more += text_of(getattr(choice.delta, "content", None)) or ""
                        finish = choice.finish_reason or finish
                    yield grown(begun, more, cut_off=True, names=names)
        except openai.APIError as exc:
            raise self._says.of_error(exc, model) from None
        except (ValueError, TypeError, AttributeError):  # the body was not a stream of chat completions
            raise self._says.of_silence(Silence.NOT_A_COMPLETION) from None
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
            raise self._says.of_error(exc, self._settings.model) from None
        except (ValueError, TypeError, AttributeError):  # the body was not a list of models
            raise self._says.of_silence(Silence.NOT_A_COMPLETION) from None

    def use_persona(self, persona: str) -> None:
        """Use another persona from the next prompt on."""
        self._settings = replace(self._settings, persona=persona)

    def forget(self, leaving: Leaving) -> None:
        """Do nothing: what the server keeps is its own."""

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.close()

    async def _ask(self, context: Context, style: Style, turns: Turns) -> Written | GeneratorError:
        """Request one candidate; return a failure, so that the other candidates can still be used.

        A model that is seen to think though it has no budget for it is asked not to. If it gave no answer, it
        is asked again at once.
        """
        quiet = self._known(self._model(context)).quiet
        try:
            async with turns():
                asked, written = quiet.asked, await self._written(context, style)
                if not self._settings.thinking_tokens and thinks(written):
                    quiet.asked = True
                    if not asked and not clean(written.text):
                        written = await self._written(context, style)
        except GeneratorError as exc:
            return exc
        except openai.APIError as exc:
            return self._says.of_error(exc, self._model(context))
        return written

    async def _written(self, context: Context, style: Style) -> Written:
        model = self._model(context)
        said = await self._complete(model, context, style)
        self._known(model).pace.learn(context, said.timings)
        return Written(said.text, style.name, said.cut_off, said.thought)

    def _candidates(self, names: Sequence[str], answers: Answers) -> list[Candidate]:
        written = [answer for answer in answers if isinstance(answer, Written)]
        return candidates_of(written, drafts=self._settings.drafts, names=names)

    def _model(self, context: Context) -> str:
        """Return the name of the model to ask."""
        return context.model or self._settings.model

    async def _fitted(self, context: Context, styles: Sequence[Style]) -> Context:
        """Cut a context to the budget, the same for all styles."""
        known = self._known(self._model(context))
        note = max((style.instruction for style in styles), key=len, default="")
        budget = known.dialect.longest.prompt_of(self._settings.context_tokens)
        persona = context.persona_or(self._settings.persona)
        fitted = await known.fitting.fitted(context, persona, budget, note)
        return replace(context, message=fitted.message, turns=fitted.turns)

    def _request(self, context: Context, style: Style, begun: str = "") -> dict[str, Any]:
        """Return the body of a request for one style, or for the continuation of ``begun``.

        Blocks for up to 50 ms; call from a thread.
        """
        messages = messages_of(context.persona_or(self._settings.persona), context)
        messages = with_note(with_pictures(messages, context.pictures), style.instruction)
        limit = style.tokens(self._settings.candidate_tokens) + self._settings.thinking_tokens
        request: dict[str, Any] = {
            "messages": messages,
            "temperature": style.temperature,
            "top_p": _TOP_P,
            "max_tokens": limit,
        }
        if begun:
            messages.append({"role": "assistant", "content": defuse(begun)})
            request |= {"stream": True, "max_tokens": style.tokens(self._settings.further_tokens)}
            request["extra_body"] = {"add_generation_prompt": False, "continue_final_message": True}
        return request

    def _known(self, model: str) -> Known:
        if model not in self._models:
            self._models[model] = Known(Fitting(self._client, self._settings.base_url, model))
        return self._models[model]

    async def _complete(self, model: str, context: Context, style: Style, begun: str = "") -> Any:
        """Send one request, in other forms or with less context if the server refuses it.

        Returns:
            The answer, or the stream of a continuation.

        Raises:
            GeneratorError: The server refused all forms, or answered without a reply.
            openai.APIError: The server could not be asked.
        """
        longest = Longest()
        refusal = Refusal(413)
        for _ in range(_ATTEMPTS):
            request = await asyncio.to_thread(self._request, context, style, begun)
            request["max_tokens"] = longest.reply_of(request["max_tokens"])
            answer = await self._in_some_form(model, request)
            if not isinstance(answer, Refusal):
                self._known(model).dialect.keep_longest(longest, model)
                return answer
            refusal = answer
            if refusal.reply_limit is not None and refusal.reply_limit < request["max_tokens"]:
                longest.reply = refusal.reply_limit
            elif refusal.is_too_long:
                before = context
                context, longest.prompt = await self._shortened(context, style, refusal)
                if context == before:  # only the message is left, so the reply must be shorter
                    longest.reply = max(_SHORTEST_REPLY, request["max_tokens"] // 2)
            elif refusal.is_about_the_form and context.turns:
                context = replace(context, turns=())  # servers have many words for "too long"
            else:
                break
        raise self._says.of_refusal(refusal, model)

    async def _in_some_form(self, model: str, request: dict[str, Any]) -> Any:
        """Send a request in the form that the model takes; learn the form if the server refuses it.

        Returns:
            The answer, the stream, or the refusal of every form.
        """
        dialect = self._known(model).dialect
        request, sent, answer = await self._in_some_way_of_not_thinking(model, request)
        if not (isinstance(answer, Refusal) and answer.is_about_the_form):
            return answer
        async with dialect.learning() as is_worthwhile:
            if (now := dialect.written(request)) != sent:  # another request has learnt meanwhile
                answer = await self._send(model, now)
                if not (isinstance(answer, Refusal) and answer.is_about_the_form):
                    return answer
            refusals = [answer]
            for without in dialect.forms(request, refusals) if is_worthwhile else ():
                answer = await self._send(model, dialect.written(request, without))
                if not isinstance(answer, Refusal):
                    dialect.keep(without, model)
                if not (isinstance(answer, Refusal) and answer.is_about_the_form):
                    return answer
                refusals.append(answer)
            if is_worthwhile:
                dialect.give_up()
        return refusals[0]

    async def _in_some_way_of_not_thinking(
        self, model: str, request: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], Any]:
        """Send a request with the configured options, and with those that ask a model not to think.

        Returns:
            The request with its options, the form in which it was sent, and the answer, the stream, or the
            refusal. Another request may have learnt a further form when the answer arrives.
        """
        quiet, further = self._known(model).quiet, self._settings.extra_body
        while True:
            options = quiet.options()
            body = request.get("extra_body", {}) | options | further
            asked = request | ({"extra_body": body} if body else {})
            sent = self._known(model).dialect.written(asked)
            answer = await self._send(model, sent)
            about_form = isinstance(answer, Refusal) and answer.is_about_the_form
            if not (about_form and quiet.refused(options, answer.parameter)):
                return asked, sent, answer

    async def _send(self, model: str, sent: dict[str, Any]) -> Any:
        """Send one request; return the answer, the stream, or what the server said instead.

        Raises:
            GeneratorUnavailable: The server answered without a reply.
            openai.APIError: The server could not be asked.
        """
        completions = self._client.chat.completions
        try:
            if sent.get("stream"):
                return await completions.create(model=model, **sent)
            answer = read_answer((await completions.with_raw_response.create(model=model, **sent)).text)
        except openai.APIStatusError as exc:
            return Refusal.from_status(exc)
        if answer is Silence.REASONING:
            return Said("", cut_off=False, thought=True)
        if isinstance(answer, Silence):
            raise self._says.of_silence(answer)
        return answer

    async def _shortened(self, context: Context, style: Style, refusal: Refusal) -> tuple[Context, int]:
        """Return the context, cut to the share that fits, and its budget."""
        fitting = self._known(self._model(context)).fitting
        persona, note = context.persona_or(self._settings.persona), style.instruction
        budget = int(await fitting.size(context, persona, note) * refusal.share_that_fits())
        fitted = await fitting.fitted(context, persona, budget, note)
        return replace(context, message=fitted.message, turns=fitted.turns), budget
