"""Texts of ``/config show``: the settings of a server in words, for its managers.

Pure text over :class:`~bot.servers.server_settings.GuildSettings`.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.languages import mark, tr, trn
from bot.servers.access import GuildAccessList
from bot.servers.server_settings import GuildSettings
from bot.settings import DailyLimit, LimitSettings

SHOWN = 10
"""Entries of a list that are written out."""

TITLE = mark("**Settings of this server** (everything else follows the host's defaults):")
NOTHING_SET = mark(
    "Nothing has been changed in this server: all settings follow the host's defaults. Use `/config"
    " set` to change them."
)
PERSONA = mark("**Persona:** {persona}")
MODEL = mark("**Model:** {model}")
CHAT_CHANNELS = mark("**I answer every message in:** {channels}")
NO_CHAT_CHANNELS = mark("**I answer every message in:** no channel")
UNREADABLE = mark(
    "*The host of this bot has not allowed me to read every message, so I cannot answer in these"
    " channels yet.*"
)
REACTIONS = mark("**Reactions under my replies:** {emoji}")
NO_REACTIONS = mark("**Reactions under my replies:** none")
LIKES = mark("**Means a like:** {emoji}")
DISLIKES = mark("**Means a dislike:** {emoji}")
SAYS_NOTHING = mark("**Means nothing:** {emoji}")
ALLOWED = mark("**I answer only:** {entries}")
DENIED = mark("**I do not answer:** {entries}")
MEMBERS = mark("members: {count} (I keep no list of names)")
MEMBER_LIMIT = mark("**Each member, a day:** {limit}")
SERVER_LIMIT = mark("**All members together, a day:** {limit}")
ROLE_LIMIT = mark("**Members with** <@&{role}>**, a day:** {limit}")
ANY_MESSAGES = mark("any number of messages")
ANY_TOKENS = mark("any number of tokens")
MORE = mark("and {count} more")


def lines_of(settings: GuildSettings, *, readable: bool) -> list[str]:
    """Describe the settings of a server, line by line.

    Args:
        settings: Settings of the server.
        readable: Whether the bot can read messages that do not mention it.
    """
    lines = []
    if settings.persona is not None:
        lines.append(tr(PERSONA, persona=settings.persona))
    if settings.model is not None:
        lines.append(tr(MODEL, model=settings.model))
    if settings.chat_channels is not None:
        shown = listed([f"<#{one}>" for one in settings.chat_channels])
        lines.append(tr(CHAT_CHANNELS, channels=shown) if shown else tr(NO_CHAT_CHANNELS))
        lines += [] if readable or not shown else [tr(UNREADABLE)]
    if settings.seeded_reactions is not None:
        shown = listed(settings.seeded_reactions)
        lines.append(tr(REACTIONS, emoji=shown) if shown else tr(NO_REACTIONS))
    for words, means in ((LIKES, 1.0), (DISLIKES, -1.0), (SAYS_NOTHING, 0.0)):
        # Discord shows a custom emoji by its id and ignores the name before it.
        if shown := listed([f"<:emoji{key}>" for key, value in settings.emoji.items() if value == means]):
            lines.append(tr(words, emoji=shown))
    for words, entries in ((ALLOWED, settings.allow), (DENIED, settings.deny)):
        if shown := listed(_entries(entries)):
            lines.append(tr(words, entries=shown))
    lines += _limit_lines(settings.limits)
    return [tr(TITLE), *lines] if lines else [tr(NOTHING_SET)]


def listed(entries: Sequence[str]) -> str:
    """Join the first entries in one line, and count the others."""
    more = len(entries) - SHOWN
    return ", ".join([*entries[:SHOWN], *([tr(MORE, count=more)] if more > 0 else [])])


def limit_in_words(limit: DailyLimit) -> str:
    """Describe a limit in words."""
    messages, tokens = tr(ANY_MESSAGES), tr(ANY_TOKENS)
    if limit.messages:
        messages = trn("{n} message", "{n} messages", limit.messages)
    if limit.tokens:
        tokens = trn("{n} token", "{n} tokens", limit.tokens)
    return f"{messages}, {tokens}"


def _entries(one: GuildAccessList) -> list[str]:
    places = [f"<#{place}>" for place in (*one.channels, *one.categories)]
    members = [tr(MEMBERS, count=len(one.members))] if one.members else []
    return [*members, *(f"<@&{role}>" for role in one.roles), *places]


def _limit_lines(limits: LimitSettings) -> list[str]:
    each = DailyLimit(limits.member_messages, limits.member_tokens)
    everybody = DailyLimit(limits.server_messages, limits.server_tokens)
    lines = [tr(MEMBER_LIMIT, limit=limit_in_words(each))] if each != DailyLimit() else []
    lines += [tr(SERVER_LIMIT, limit=limit_in_words(everybody))] if everybody != DailyLimit() else []
    return lines + [
        tr(ROLE_LIMIT, role=role, limit=limit_in_words(limit)) for role, limit in limits.roles.items()
    ]
