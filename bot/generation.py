"""Contract between generators and the rest of the bot: context, styles, candidates, errors.

Three generators implement it: transformers and llama.cpp (GGUF files on a CPU) in this process, and any
OpenAI-compatible server. Each takes a :class:`Context` and one :class:`Style` per candidate. No discord
import here.

Errors::

    GeneratorError
     +-- ModelMissing            the configured model or its files were not found
     +-- OnlyThoughts            a thinking model reached its token limit before it answered
     +-- GeneratorUnavailable    the server or device did not answer; a later try may succeed
     +-- Stopping                the bot stops; the member should ask again once it is back
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Literal, Protocol, TypeVar
from zlib import crc32

from annotated_types import Interval

from bot.catalogue import language_model
from bot.memory import Leaving
from storage.records import Seat

PACKAGED = "SmolLM2-135M-Instruct"
"""Name of the model that ``[generator] model = "packaged"`` means."""


def name_of_model(model: str) -> str:
    """Return the name of a model alone, as members see it: no owner, folder, file ending or server.

    Args:
        model: ``packaged``, a name of the catalogue, a Hugging Face id, a folder, a GGUF file, or the model
            server's name for it.
    """
    # A size is a name of the catalogue only in our own configuration: a model server may have a "large", too.
    if (listed := language_model(model)) is not None and model == listed.name:
        return listed.title
    last = re.split(r"[\\/]", model.rstrip("\\/"))[-1]
    return PACKAGED if model == "packaged" else re.sub(r"\.gguf$", "", last, flags=re.IGNORECASE)


class GeneratorError(Exception):
    """No candidate could be generated."""


class ModelMissing(GeneratorError):
    """The configured model could not be found; check ``[generator] model`` in config.toml."""


class GeneratorUnavailable(GeneratorError):
    """The model server did not answer; it may be starting, stopped or overloaded."""


class OnlyThoughts(GeneratorError):
    """A thinking model wrote thoughts and no answer."""

    def __init__(self) -> None:
        super().__init__(
            "the language model only thought and gave no answer; raise [generator] thinking_tokens, or switch"
            " its thinking off at the server, for example with [generator] extra_body"
        )


class Stopping(GeneratorError):
    """The bot stops before the answer is written."""

    def __init__(self) -> None:
        super().__init__("the bot stops")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation; the role of the bot's own messages is ``assistant``."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture attached to a message: media type, such as ``image/png``, and bytes."""

    media_type: str
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Context:
    """The context of one reply: the message and the turns before it. Kept in memory only.

    Attributes:
        message: The message to answer.
        turns: Earlier turns of the same conversation, oldest first, without ``message``.
        pictures: Pictures attached to ``message``; empty if the model cannot read pictures.
        persona: Persona of the server; None: the configured one.
        model: One of the offered models; None: the configured one. A local generator has only one.
        name: Name of the bot in this server, as members see it; empty: not known.
        speaker: Name of the author of ``message`` if several people talk; it stands before their turns.
    """

    message: str
    turns: tuple[Turn, ...] = ()
    pictures: tuple[Picture, ...] = ()
    persona: str | None = None
    model: str | None = None
    name: str = field(default="", compare=False)
    speaker: str = ""

    @property
    def said(self) -> str:
        """The message, behind the name of its author if several people talk."""
        return f"{self.speaker}: {self.message}" if self.speaker and self.message else self.message

    def persona_or(self, configured: str) -> str:
        """Return the persona of this context, or else the configured one."""
        return configured if self.persona is None else self.persona


class ContextReader(Protocol):
    """Reads the context of one prompt, once its turn has come.

    Messages that arrive while the prompt waits can so still become a part of it.
    """

    async def read(self) -> Context:
        """Read back the conversation and the attachments. Called once."""
        ...


Bound = Annotated[int, Interval(ge=0, le=100_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The shape of a reply, which holds whatever the model writes. 0: no bound.

    Attributes:
        most_sentences: Most sentences.
        most_characters: Longest text outside of code, characters. A longer sentence is cut after a clause of
            it; where no clause fits, one whole sentence stays.
        most_tokens: Longest output of the model, tokens; the generator's own limit holds, too.
        question: Whether the reply ends with its last question, where it holds one.
        lists: Whether the reply may hold lists; else their items become running text.
    """

    most_sentences: Bound = 0
    most_characters: Bound = 0
    most_tokens: Bound = 0
    question: bool = False
    lists: bool = True

    def and_also(self, other: Shape) -> Shape:
        """Return the shape that satisfies both."""
        return Shape(
            most_sentences=_tighter(self.most_sentences, other.most_sentences),
            most_characters=_tighter(self.most_characters, other.most_characters),
            most_tokens=_tighter(self.most_tokens, other.most_tokens),
            question=self.question or other.question,
            lists=self.lists and other.lists,
        )


ANY_SHAPE = Shape()
"""The shape without bounds."""


class HasId(Protocol):
    """A message of Discord."""

    id: int


T = TypeVar("T", bound=HasId)
_SHORTEST = 4
"""A history of fewer messages is not cut in steps."""


def _tighter(one: int, other: int) -> int:
    return min(one or other, other or one)


@dataclass(frozen=True, slots=True)
class Style:
    """A style prompt: the manner in which one candidate is written.

    Attributes:
        name: Short name, stored with the impression.
        instruction: Sentence added behind the message.
        temperature: Sampling temperature, 0 to 2.
        shape: Bounds on the text of the candidate.
    """

    name: str
    instruction: str
    temperature: Annotated[float, Interval(ge=0, le=2)] = 0.8
    shape: Shape = ANY_SHAPE

    def tokens(self, limit: int) -> int:
        """Return the longest output in this style under a limit, tokens."""
        return _tighter(limit, self.shape.most_tokens)


@dataclass(frozen=True, slots=True)
class SeatedStyle(Style):
    """A style as it was dealt to one candidate.

    Attributes:
        seat: What was dealt; None: not dealt.
    """

    seat: Seat | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One possible reply and the style of its prompt.

    Attributes:
        unfinished: Whether it is a draft that :meth:`CandidateGenerator.continued` can complete.
        seat: What it was dealt; None for texts that were not requested.
    """

    text: str
    style: str
    unfinished: bool = False
    fits: float = -1.0
    seat: Seat | None = None


def seat_of(style: Style) -> Seat | None:
    """Return what a style was dealt."""
    return style.seat if isinstance(style, SeatedStyle) else None


def seated(style: Style, seat: Seat | None) -> SeatedStyle:
    """Return the style with another seat."""
    own = {one.name: getattr(style, one.name) for one in fields(Style)}
    return SeatedStyle(**own, seat=seat)


def style_of(candidate: Candidate, styles: Sequence[Style]) -> Style:
    """Return the style that a candidate was written in, with the seat of the candidate.

    The name of a style holds what was added to its instruction, so styles of one name are equal but for
    their seats.

    Raises:
        KeyError: None of the styles has its name.
    """
    for style in styles:
        if style.name == candidate.style:
            return style if candidate.seat is None else seated(style, candidate.seat)
    raise KeyError(candidate.style)


def with_seats(candidates: Sequence[Candidate], styles: Sequence[Style]) -> list[Candidate]:
    """Return the candidates with the seats of their styles; those that have one keep it."""
    seats = {style.name: seat_of(style) for style in reversed(styles)}
    return [one if one.seat is not None else replace(one, seat=seats.get(one.style)) for one in candidates]


class CandidateGenerator(Protocol):
    """Writes candidates for a context. Implementations never block the event loop."""

    @property
    def name(self) -> str:
        """Model with device or server, for log and doctor; members see :func:`name_of_model`."""
        ...

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        """Generate at most one candidate per style, in the order of ``styles``; leave out blank ones.

        Raises:
            GeneratorError: No candidate could be generated.
        """
        ...

    def continued(self, context: Context, style: Style, begun: str) -> AsyncGenerator[str]:
        """Continue an unfinished candidate; yield the whole cleaned reply each time it has grown.

        Ends at the token limit. Closing the iterator stops generation between two tokens.

        Args:
            context: As for :meth:`generate`.
            style: The style of the candidate.
            begun: Text of the candidate.

        Raises:
            GeneratorError: The reply could not be completed; the texts yielded so far remain valid.
        """
        ...

    def use_persona(self, persona: str) -> None:
        """Use another persona from the next prompt on."""
        ...

    def forget(self, leaving: Leaving) -> None:
        """Drop what is kept of prompts, so that the next one is read as a whole."""
        ...

    async def close(self) -> None:
        """Release the model or connection."""
        ...


def steady_start(texts: Sequence[str], most: int) -> int:
    """Return the index at which a history of at most ``most`` turns starts.

    If the history is longer, it starts at the turn with the smallest checksum in the older half of the turns
    that may stay. The same turn is chosen again while the conversation grows, until it is too old. A start
    that moves with every message would make every prefix of a prompt new.

    Args:
        texts: Text of each turn, oldest first.
        most: Most turns that may stay.
    """
    if len(texts) <= most or most <= 0:
        return max(0, len(texts) - most)
    older_half = range(len(texts) - most, len(texts) - most // 2)
    return min(older_half, key=lambda i: crc32(texts[i].encode(errors="surrogatepass")))


def steadied(messages: list[T], most: int) -> list[T]:
    """Return the latest messages of a history, from a message at which it will start again.

    A history with fewer than ``most`` messages is whole, and stays so.
    """
    if len(messages) < max(most, _SHORTEST):
        return messages
    return messages[steady_start([str(one.id) for one in messages], most - 1) :]
