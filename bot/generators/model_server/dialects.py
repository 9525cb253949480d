"""Learns which parameters and roles a model takes, by asking leaner when a server refuses a request.

Some servers name the parameter that they refuse; then only this is changed. Others (Anthropic-like servers,
proxies, chat templates that raise) only refuse. Then each change is tried alone, and after that several
together. What helped is remembered for the model; what did not help is not.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from bot.generators.model_server.refusals import Refusal

log = logging.getLogger(__name__)

SYSTEM, ALTERNATION, OPTIONS = "system role", "roles that do not alternate", "extra_body"
_LADDER = (OPTIONS, "top_p", "temperature", SYSTEM, ALTERNATION)
"""What is left out when a server does not say what it refuses, in this order."""
_NEW_NAME = "max_completion_tokens"
_LIMITS = ("max_tokens", _NEW_NAME)
_HINTS = (
    (SYSTEM, r"system.{0,40}(?:role|message|prompt|instruction)|role.{0,60}system|developer"),
    (ALTERNATION, r"alternat|(?:first|start|begin).{0,60}\buser\b|consecutive"),
    (
        OPTIONS,
        r"chat_template_kwargs|enable_thinking|reasoning_effort|extra (?:inputs|fields)|unknown name",
    ),
)
_PAUSE_S = 60.0
"""Seconds in which no further forms are tried after all of them were refused."""


@dataclass
class Longest:
    """The longest prompt and the longest reply, tokens; None: as configured."""

    prompt: int | None = None
    reply: int | None = None

    def prompt_of(self, n_tokens: int) -> int:
        """Return the tokens of a prompt that may have ``n_tokens``."""
        return n_tokens if self.prompt is None else min(n_tokens, self.prompt)

    def reply_of(self, n_tokens: int) -> int:
        """Return the tokens of a reply that may have ``n_tokens``."""
        return n_tokens if self.reply is None else min(n_tokens, self.reply)


class Dialect:
    """What one model takes.

    Attributes:
        without: What the model does not take.
        longest: The longest prompt and reply that the server took after it had refused longer ones.
    """

    def __init__(self) -> None:
        self.without: frozenset[str] = frozenset()
        self.longest = Longest()
        self._learning = asyncio.Lock()
        self._helpless_until = 0.0

    def written(self, request: dict[str, Any], without: frozenset[str] | None = None) -> dict[str, Any]:
        """Return the request in the form that the model takes.

        Args:
            request: Messages and parameters.
            without: What to leave out; None: what the model is known not to take.
        """
        without = self.without if without is None else without
        sent = {key: value for key, value in request.items() if key not in without or key == "max_tokens"}
        if "max_tokens" in sent:
            sent["max_tokens"] = self.longest.reply_of(sent["max_tokens"])
        if "max_tokens" in without:  # newer hosted models only know it by another name
            sent[_NEW_NAME] = sent.pop("max_tokens")
            if _NEW_NAME in without:
                del sent[_NEW_NAME]
        if SYSTEM in without:
            sent["messages"] = folded(sent["messages"])
        if ALTERNATION in without:
            sent["messages"] = alternating(sent["messages"])
        return sent

    def forms(self, request: dict[str, Any], refusals: Sequence[Refusal]) -> Iterator[frozenset[str]]:
        """Yield what else to leave out, the likeliest first. Each form differs from those sent before.

        Args:
            request: Messages and parameters.
            refusals: What the server said; the caller appends the refusal of each form.
        """
        tried = [self.written(request)]

        def is_new(without: frozenset[str]) -> bool:
            if request.get("stream") and OPTIONS in without - self.without:
                return False  # without its options, a server would not continue the message
            if (sent := self.written(request, without)) in tried:
                return False
            tried.append(sent)
            return True

        base = without = self.without
        while True:  # a server may name one thing at a time
            refusal, sent = refusals[-1], tried[-1]
            named = (one for one in _named(refusal, sent) if one not in without and is_new(without | {one}))
            if (one := next(named, None)) is None:
                break
            without |= {one}
            if one == refusal.parameter:
                base |= {one}
            yield without
        yield from (base | extra for extra in _ladder() if is_new(base | extra))

    def keep(self, without: frozenset[str], model: str) -> None:
        """Remember what the model does not take."""
        if new := sorted(without - self.without):
            log.warning(
                "the model %s does not take: %s; requests leave it out from now on", model, ", ".join(new)
            )
        self.without |= without

    def keep_longest(self, longest: Longest, model: str) -> None:
        """Remember lengths that the server took."""
        before = replace(self.longest)
        if longest.prompt is not None:
            self.longest.prompt = self.longest.prompt_of(longest.prompt)
        if longest.reply is not None:
            self.longest.reply = self.longest.reply_of(longest.reply)
        if self.longest != before:
            log.warning(
                "the context of the model %s is shorter than configured: prompts of %s, replies of %s tokens",
                model,
                self.longest.prompt or "as many",
                self.longest.reply or "as many",
            )

    @asynccontextmanager
    async def learning(self) -> AsyncIterator[bool]:
        """Wait until no other request tries forms; the value says whether trying any makes sense now."""
        async with self._learning:
            yield asyncio.get_running_loop().time() >= self._helpless_until

    def give_up(self) -> None:
        """Try no further forms for a while: the server refuses them all."""
        self._helpless_until = asyncio.get_running_loop().time() + _PAUSE_S


def folded(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Move the system prompt into the first user message, which may be a list of parts."""
    if not messages or messages[0]["role"] != "system":
        return list(messages)
    system, *rest = messages
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system["content"]}, *rest]
    first = rest[0]["content"]
    text = {"type": "text", "text": system["content"]}
    joined = f"{system['content']}\n\n{first}" if isinstance(first, str) else [text, *first]
    return [{"role": "user", "content": joined}, *rest[1:]]


def alternating(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop replies of the bot before the first user message; some templates require a user first."""
    kept = list(messages)
    start = 1 if kept and kept[0]["role"] == "system" else 0
    while len(kept) > start + 1 and kept[start]["role"] == "assistant":
        del kept[start]
    return kept


def _ladder() -> Iterator[frozenset[str]]:
    """Yield each change alone, then the first two, three and more together."""
    yield from (frozenset({one}) for one in _LADDER)
    yield from (frozenset(_LADDER[:n]) for n in range(2, len(_LADDER) + 1))


def _named(refusal: Refusal, sent: dict[str, Any]) -> list[str]:
    """Return what the refusal names: its parameter, or else what its words are about."""
    names = [key for key in sent if key not in ("messages", "model", "stream", OPTIONS)]
    if refusal.parameter in names:
        return [refusal.parameter]
    about = f"{refusal.parameter} {refusal.words}"
    names.sort(key=lambda name: (name not in _LADDER, name in _LIMITS, name != "top_p"))
    found = [name for name in names if re.search(rf"\b{name}\b", about)]
    return [*found, *(name for name, hint in _HINTS if re.search(hint, about))]
