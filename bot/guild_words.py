"""The settings of a server in words, for those who manage it: what ``/config show`` says.

Pure text over :class:`~bot.guilds.GuildSettings`.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.access import GuildAccessList
from bot.guilds import GuildSettings
from bot.settings import DailyLimit, LimitSettings

SHOWN = 10
"""Entries of a list that are written out."""

TITLE = "**What is set for this server** (everything else is as whoever runs me chose):"
NOTHING_SET = (
    "Nothing is set for this server: everything is as whoever runs me chose. `/config set` changes it."
)
PERSONA = "**Persona:** {persona}"
MODEL = "**Model:** {model}"
CHAT_CHANNELS = "**I answer every message in:** {channels}"
NO_CHAT_CHANNELS = "**I answer every message in:** no channel"
UNREADABLE = "*Whoever runs me has not allowed me to read every message, so these channels wait for that.*"
REACTIONS = "**Reactions under my replies:** {emoji}"
NO_REACTIONS = "**Reactions under my replies:** none"
LIKES = "**Means a like:** {emoji}"
DISLIKES = "**Means a dislike:** {emoji}"
SAYS_NOTHING = "**Means nothing:** {emoji}"
ALLOWED = "**I answer only:** {entries}"
DENIED = "**I do not answer:** {entries}"
MEMBERS = "members: {count} (I keep no list of names)"
MEMBER_LIMIT = "**Each member, a day:** {limit}"
SERVER_LIMIT = "**All members together, a day:** {limit}"
ROLE_LIMIT = "**Members with** <@&{role}>**, a day:** {limit}"
MESSAGES_AND_TOKENS = "{messages} messages, {tokens} tokens"
NO_LIMIT = "any number of"
MORE = "and {count} more"


def lines_of(settings: GuildSettings, *, readable: bool) -> list[str]:
    """What is set, line by line.

    Args:
        settings: What was set for the server.
        readable: Whether the bot can read messages that do not mention it.
    """
    lines = []
    if settings.persona is not None:
        lines.append(PERSONA.format(persona=settings.persona))
    if settings.model is not None:
        lines.append(MODEL.format(model=settings.model))
    if settings.chat_channels is not None:
        shown = listed([f"<#{one}>" for one in settings.chat_channels])
        lines.append(CHAT_CHANNELS.format(channels=shown) if shown else NO_CHAT_CHANNELS)
        lines += [] if readable or not shown else [UNREADABLE]
    if settings.seeded_reactions is not None:
        shown = listed(settings.seeded_reactions)
        lines.append(REACTIONS.format(emoji=shown) if shown else NO_REACTIONS)
    for words, means in ((LIKES, 1.0), (DISLIKES, -1.0), (SAYS_NOTHING, 0.0)):
        # Discord shows a custom emoji by its id, whatever name stands before it.
        if shown := listed([f"<:emoji{key}>" for key, value in settings.emoji.items() if value == means]):
            lines.append(words.format(emoji=shown))
    for words, entries in ((ALLOWED, settings.allow), (DENIED, settings.deny)):
        if shown := listed(_entries(entries)):
            lines.append(words.format(entries=shown))
    lines += _limit_lines(settings.limits)
    return [TITLE, *lines] if lines else [NOTHING_SET]


def listed(entries: Sequence[str]) -> str:
    """The first entries in one line, and how many more there are."""
    more = len(entries) - SHOWN
    return ", ".join([*entries[:SHOWN], *([MORE.format(count=more)] if more > 0 else [])])


def limit_in_words(limit: DailyLimit) -> str:
    """A limit in words."""
    return MESSAGES_AND_TOKENS.format(messages=limit.messages or NO_LIMIT, tokens=limit.tokens or NO_LIMIT)


def _entries(one: GuildAccessList) -> list[str]:
    places = [f"<#{place}>" for place in (*one.channels, *one.categories)]
    members = [MEMBERS.format(count=len(one.members))] if one.members else []
    return [*members, *(f"<@&{role}>" for role in one.roles), *places]


def _limit_lines(limits: LimitSettings) -> list[str]:
    each = DailyLimit(limits.member_messages, limits.member_tokens)
    everybody = DailyLimit(limits.server_messages, limits.server_tokens)
    lines = [MEMBER_LIMIT.format(limit=limit_in_words(each))] if each != DailyLimit() else []
    lines += [SERVER_LIMIT.format(limit=limit_in_words(everybody))] if everybody != DailyLimit() else []
    return lines + [
        ROLE_LIMIT.format(role=role, limit=limit_in_words(limit)) for role, limit in limits.roles.items()
    ]
