"""A prompt, and what was decided about it: the reply that is ready, and the impression of it.

Plain data and pure functions of :mod:`bot.replies.responder`; no Discord, no store.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bot.generation import Candidate, Context
from bot.generators.prompt import estimate_tokens
from personalization.ranking.explain import reason_of
from personalization.ranking.ranker import Ranking
from storage.records import ANOTHER, FALLBACK, FAQ_STYLE, Consent, Impression, Who


class NothingToSay(Exception):
    """Every candidate was blank or withheld by the output filter; ask again in other words."""

    def __init__(self, n_tokens: int = 0) -> None:
        super().__init__()
        self.n_tokens = n_tokens


@dataclass(frozen=True, slots=True)
class Prompt:
    """Who asks, and what is known before replying.

    Attributes:
        who: Who asks.
        context: What is known, or how to read it once the turn has come.
        behind: Discord ids of the members whose prompts wait for this one to be answered.
    """

    who: Who
    context: Context | Callable[[], Awaitable[Context]]
    behind: Callable[[], Collection[int]] = tuple

    async def read(self) -> Context:
        """What is known before replying."""
        return self.context if isinstance(self.context, Context) else await self.context()


@dataclass(eq=False)
class Asker:
    """A member while their answer is being made.

    Attributes:
        who: The member.
        left: Whether they were forgotten or withdrew meanwhile.
        may_have_left: Whether a member left in another process meanwhile; news do not say who.
    """

    who: Who
    left: bool = False
    may_have_left: bool = False

    @property
    def may_be_remembered(self) -> bool:
        """Whether memory may keep the answer; what is stored is decided by the member's consent."""
        return not (self.left or self.may_have_left)


@dataclass(frozen=True, slots=True)
class Decision:
    """A reply that is ready to be posted.

    Attributes:
        text: What to post.
        consent: What the member had decided when the reply was made.
        asker: For whom; knows when they leave before the reply is recorded.
        impression: What to record once it is posted, if the member agrees.
        written: The candidates behind it, for when another answer is asked for.
        seconds: Time spent per part: ``turn``, ``context``, ``consent``, ``generate``, ``filter``, ``rank``.
        more: Where the text is a draft: goes on with it, text by longer text, each of which may be posted.
            Holds the context, so it goes as soon as the reply is finished.
        n_tokens: Tokens read and written for it, estimated.
    """

    text: str
    consent: Consent
    impression: Impression
    asker: Asker
    written: tuple[Candidate, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    more: Callable[[], AsyncGenerator[str]] | None = None
    n_tokens: int = 0


def as_another(impression: Impression) -> Impression:
    """Mark an impression as asked for in place of one before; an unranked one says so instead."""
    if impression.policy == FALLBACK:
        return impression
    return replace(impression, policy=ANOTHER + impression.policy)


def tokens_of(context: Context, candidates: Sequence[Candidate], *, n_prompts: int, most: int) -> int:
    """Estimate the tokens that were read and written for one reply.

    Args:
        context: What was read, once for each prompt.
        candidates: What was written.
        n_prompts: Prompts, one for each candidate that was asked for.
        most: What a context was cut to.
    """
    read = sum(map(estimate_tokens, [context.message, *(turn.text for turn in context.turns)]))
    return n_prompts * min(read, most) + sum(estimate_tokens(one.text) for one in candidates)


def impression_of(texts: tuple[str, ...], styles: tuple[str, ...], ranking: Ranking) -> Impression:
    """The impression of the candidate that a ranking chose."""
    # An answer from /faq is a person's words, and a thumb under it is about a fact: it teaches nobody's head.
    teaches = styles[ranking.chosen] != FAQ_STYLE
    return Impression(
        candidates=texts,
        styles=styles,
        chosen=ranking.chosen,
        scores=ranking.scores,
        prior_scores=ranking.prior_scores,
        propensities=ranking.propensities,
        policy=ranking.policy,
        head_version=ranking.head_version,
        feature_id=ranking.feature_id if teaches else "",
        features=np.ascontiguousarray(ranking.features[ranking.chosen], dtype="<f4").tobytes()
        if teaches
        else b"",
        reason=reason_of(ranking.parts, uncertainty=ranking.uncertainty, n_labels=ranking.n_labels),
    )


def unranked(texts: tuple[str, ...], styles: tuple[str, ...]) -> Impression:
    """The impression of the first candidate, which goes out because the ranking failed."""
    first_only = (1.0, *(0.0 for _ in texts[1:]))
    return Impression(
        candidates=texts,
        styles=styles,
        chosen=0,
        scores=tuple(0.0 for _ in texts),
        prior_scores=tuple(0.0 for _ in texts),
        propensities=first_only,
        policy=FALLBACK,
        head_version=0,
        feature_id="",
        features=b"",
    )


class Stopwatch:
    """Seconds per part of one decision."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note how long a part took."""
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
