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
from typing import Annotated, Literal, Protocol, runtime_checkable

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
        least_sentences: Fewest sentences, as far as the token limit and the other bounds allow. Local models
            cannot end earlier. A shorter reply is dropped if another has enough.
        most_sentences: Most sentences.
        most_characters: Longest text outside of code, characters. A longer sentence is cut after a clause of
            it; where no clause fits, one whole sentence stays.
        most_tokens: Longest output of the model, tokens; the generator's own limit holds, too.
        question: Whether the reply ends with a question. One at its end stays; else a short one is added, in
            the languages that the bot speaks and not behind code.
        lists: Whether the reply may hold lists; else their items become running text.
    """

    least_sentences: Bound = 0
    most_sentences: Bound = 0
    most_characters: Bound = 0
    most_tokens: Bound = 0
    question: bool = False
    lists: bool = True

    def and_also(self, other: Shape) -> Shape:
        """Return the shape that satisfies both; where they contradict each other, the other one holds."""
        own = self
        if 0 < self.most_sentences < other.least_sentences:
            own = replace(self, most_sentences=0, most_characters=0, most_tokens=0)
        if 0 < other.most_sentences < self.least_sentences:
            own = replace(self, least_sentences=0)
        least = max(own.least_sentences, other.least_sentences)
        most = _tighter(own.most_sentences, other.most_sentences)
        return Shape(
            least_sentences=min(least, most or least),
            most_sentences=most,
            most_characters=_tighter(own.most_characters, other.most_characters),
            most_tokens=_tighter(own.most_tokens, other.most_tokens),
            question=own.question or other.question,
            lists=own.lists and other.lists,
        )


ANY_SHAPE = Shape()
"""The shape without bounds."""


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
        examples: Earlier replies that prompts of the reply show; a candidate that copies one is poor.
    """

    seat: Seat | None = None
    examples: tuple[str, ...] = ()


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


def dealt_to(one: Candidate | Style) -> Seat:
    """Return what a candidate or a style was dealt; its style alone if it was not dealt."""
    seat, name = (one.seat, one.style) if isinstance(one, Candidate) else (seat_of(one), one.name)
    return Seat(0, style=name) if seat is None else seat


def seated(style: Style, seat: Seat | None, examples: tuple[str, ...] = ()) -> SeatedStyle:
    """Return a style with another seat and with further examples."""
    own = {one.name: getattr(style, one.name) for one in fields(Style)}
    return SeatedStyle(**own, seat=seat, examples=(*examples_of([style]), *examples))


def examples_of(styles: Sequence[Style]) -> tuple[str, ...]:
    """Return the earlier replies that the prompts of these styles show, each once."""
    shown = (text for style in styles if isinstance(style, SeatedStyle) for text in style.examples)
    return tuple(dict.fromkeys(shown))


def style_of(candidate: Candidate, styles: Sequence[Style]) -> Style:
    """Return the style that a candidate was written in, with the seat of the candidate.

    A name holds what was added to the instruction, so styles of one name differ in their seats alone.

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


class Enough(Protocol):
    """Decides whether a reply needs no further candidates."""

    async def __call__(self, written: Sequence[Candidate], outstanding: Sequence[Style]) -> bool:
        """Return whether to stop.

        Args:
            written: The candidates so far, one or more.
            outstanding: Styles of the others, one or more.
        """
        ...


@runtime_checkable
class StopsEarly(Protocol):
    """A generator whose candidates arrive one by one, so that it can stop before the last."""

    async def generate_until(
        self, context: Context, styles: Sequence[Style], enough: Enough
    ) -> list[Candidate]:
        """Generate as :meth:`CandidateGenerator.generate` does, until the candidates so far are enough.

        Raises:
            GeneratorError: No candidate could be generated.
        """
        ...


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
