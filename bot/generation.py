"""Where candidate replies come from: one small protocol, three generators behind it.

A local model runs in this process, through transformers or (GGUF files on a CPU) llama.cpp; ``openai`` asks
any OpenAI-compatible server. All take a :class:`Context` and one :class:`Style` per wanted candidate. No
discord import here.

Errors::

    GeneratorError
     +-- ModelMissing            a model or its files are not where the configuration says
     +-- GeneratorUnavailable    the server or device did not answer; worth trying again later
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol

from annotated_types import Interval


class GeneratorError(Exception):
    """No candidate could be generated."""


class ModelMissing(GeneratorError):
    """The configured model could not be found; check ``[generator] model`` in config.toml."""


class GeneratorUnavailable(GeneratorError):
    """The model server did not answer; it may be starting, stopped or overloaded."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation. ``role`` is ``assistant`` for the bot's own."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that belongs to a message: its media type, such as ``image/png``, and its bytes."""

    media_type: str
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Context:
    """What is known before replying; lives in memory only.

    Attributes:
        message: The message to answer.
        turns: Earlier turns of the same conversation, oldest first, without ``message``.
        pictures: Pictures attached to ``message``; empty where the model cannot read them.
        persona: Who the bot is where this was asked; None: as configured.
        model: Which of the offered models shall write; None: the configured one. A local generator has one.
    """

    message: str
    turns: tuple[Turn, ...] = ()
    pictures: tuple[Picture, ...] = ()
    persona: str | None = None
    model: str | None = None

    def persona_or(self, configured: str) -> str:
        """Who the bot is."""
        return configured if self.persona is None else self.persona


class ContextReader(Protocol):
    """Reads the context of one prompt, once its turn has come.

    Messages that arrive while the prompt waits can so still become a part of it.
    """

    async def read(self) -> Context:
        """Read back the conversation and the attachments. Called once."""
        ...


@dataclass(frozen=True, slots=True)
class Style:
    """A style prompt: what one candidate is asked to sound like.

    Attributes:
        name: Short name, stored with the impression.
        instruction: Sentence added to the persona.
        temperature: Sampling temperature, 0 to 2.
    """

    name: str
    instruction: str
    temperature: Annotated[float, Interval(ge=0, le=2)] = 0.8


@dataclass(frozen=True, slots=True)
class Candidate:
    """One possible reply and the style it was asked in.

    Attributes:
        unfinished: Whether it is a draft that :meth:`CandidateGenerator.continued` can go on with.
    """

    text: str
    style: str
    unfinished: bool = False
    fits: float = -1.0


class CandidateGenerator(Protocol):
    """Context -> candidates. Implementations never block the event loop."""

    @property
    def name(self) -> str:
        """Model and device in words, for ``/status``."""
        ...

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        """Generate at most one candidate per style, in the order of ``styles``; blank ones are left out.

        Raises:
            GeneratorError: No candidate could be generated.
        """
        ...

    def continued(self, context: Context, style: Style, begun: str) -> AsyncGenerator[str]:
        """Go on with an unfinished candidate: hand out the whole reply again and again as it grows, cleaned.

        Ends at the token limit; closing the generator ends the writing between two tokens.

        Args:
            context: As for :meth:`generate`.
            style: The style that the candidate was asked in.
            begun: Its text.

        Raises:
            GeneratorError: The reply could not be finished; what was handed out stands.
        """
        ...

    def use_persona(self, persona: str) -> None:
        """Be somebody else from the next prompt on."""
        ...

    async def close(self) -> None:
        """Release the model or connection."""
        ...
