"""Texts of ``/config show``: the settings of a server in words, for its managers.

Pure text over the settings of the server and of the host: what is in effect, and which of it the server set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.config import Settings
from bot.generation import name_of_model
from bot.languages import list_of, mark, tr, trn
from bot.servers.access import GuildAccessList
from bot.servers.daily_limits import limit_of_member, limit_of_server
from bot.servers.server_settings import MOST_CHARACTERS, GuildSettings, view_of
from bot.settings import AccessList, BotSettings, DailyLimit, LimitSettings

SHOWN = 10
"""Entries of a list that are written out."""

TITLE = mark("**Settings in effect in this server.** ✎ marks what was set with `/config set`.")
NOTHING_SET = mark("Nothing was set here, so all values are the host's defaults.")
OWN = "✎ "
HOST_ACCESS = mark("*The host of this bot also restricts whom I answer, and where.*")
NO_EMOJI = mark("**Meaning of this server's own emoji:** learnt from reactions")
EVERYBODY = mark("**I answer:** everybody, everywhere")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDefaults:
    """What applies where a server has set nothing.

    Attributes:
        settings: The configuration.
        chat_channels: Its chat channels that are in this server.
        roles: The roles of this server.
    """

    settings: Settings
    chat_channels: tuple[int, ...]
    roles: tuple[int, ...] = ()


def lines_of(own: GuildSettings, host: HostDefaults) -> list[str]:
    """Describe the settings in effect in a server, line by line; what its managers set is marked.

    Args:
        own: Settings of the server.
        host: What applies where it has none.
    """
    view, generator = view_of(host.settings, own), host.settings.generator
    writers = (view.model,) if view.model else generator.models_in_use
    lines = [
        _line(own.persona is not None, tr(PERSONA, persona=_cut(view.persona or generator.persona))),
        _line(view.model is not None, tr(MODEL, model=list_of(map(name_of_model, writers)))),
        *_channel_lines(own, host),
    ]
    shown = listed(view.seeded_reactions)
    reactions = tr(REACTIONS, emoji=shown) if shown else tr(NO_REACTIONS)
    lines.append(_line(own.seeded_reactions is not None, reactions))
    for words, means in ((LIKES, 1.0), (DISLIKES, -1.0), (SAYS_NOTHING, 0.0)):
        # Discord shows a custom emoji by its id and ignores the name before it.
        if shown := listed([f"<:emoji{key}>" for key, value in own.emoji.items() if value == means]):
            lines.append(_line(True, tr(words, emoji=shown)))
    lines += [] if own.emoji else [tr(NO_EMOJI)]
    lines += _access_lines(own, host.settings.bot)
    lines += _limit_lines(own.limits, host)
    return [tr(TITLE), *([] if own != GuildSettings() else [tr(NOTHING_SET)]), *lines]


def _line(is_own: bool, text: str) -> str:
    return OWN + text if is_own else text


def _channel_lines(own: GuildSettings, host: HostDefaults) -> list[str]:
    """Return the chat channels, and whether the bot can read what is written there."""
    readable = host.settings.bot.message_content
    channels = host.chat_channels if own.chat_channels is None else own.chat_channels
    shown = listed([f"<#{one}>" for one in channels])
    line = tr(CHAT_CHANNELS, channels=shown) if shown else tr(NO_CHAT_CHANNELS)
    return [_line(own.chat_channels is not None, line), *([] if readable or not shown else [tr(UNREADABLE)])]


def _access_lines(own: GuildSettings, host: BotSettings) -> list[str]:
    """Return whom the bot answers; of the host's own lists only that there are some."""
    lines = [
        _line(True, tr(words, entries=shown))
        for words, entries in ((ALLOWED, own.allow), (DENIED, own.deny))
        if (shown := listed(_entries(entries)))
    ]
    restricted = (host.allow, host.deny) != (AccessList(), AccessList())
    return [*(lines or ([] if restricted else [tr(EVERYBODY)])), *([tr(HOST_ACCESS)] if restricted else [])]


def _cut(text: str) -> str:
    """Return a text in one line; the persona of the host may be of any length."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"


def listed(entries: Sequence[str]) -> str:
    """Join the first entries in one line, and count the others."""
    more = len(entries) - SHOWN
    return list_of([*entries[:SHOWN], *([tr(MORE, count=more)] if more > 0 else [])])


def limit_in_words(limit: DailyLimit) -> str:
    """Describe a limit in words."""
    messages, tokens = tr(ANY_MESSAGES), tr(ANY_TOKENS)
    if limit.messages:
        messages = trn("{n} message", "{n} messages", limit.messages)
    if limit.tokens:
        tokens = trn("{n} token", "{n} tokens", limit.tokens)
    return list_of([messages, tokens])


def _entries(one: GuildAccessList) -> list[str]:
    places = [f"<#{place}>" for place in (*one.channels, *one.categories)]
    members = [tr(MEMBERS, count=len(one.members))] if one.members else []
    return [*members, *(f"<@&{role}>" for role in one.roles), *places]


def _limit_lines(own: LimitSettings, host: HostDefaults) -> list[str]:
    """Return the daily limits: the tighter of the server's own and the host's."""
    both = (host.settings.limits, own)
    mine = limit_of_member([own], ()), limit_of_server([own])
    in_effect = limit_of_member(both, ()), limit_of_server(both)
    lines = [
        _line(set_here != DailyLimit(), tr(words, limit=limit_in_words(limit)))
        for words, set_here, limit in zip((MEMBER_LIMIT, SERVER_LIMIT), mine, in_effect, strict=True)
    ]
    of_host = [str(role) for role in host.roles if str(role) in host.settings.limits.roles]
    for role in dict.fromkeys((*own.roles, *of_host)):
        limit = limit_in_words(limit_of_member(both, {int(role)}))
        lines.append(_line(role in own.roles, tr(ROLE_LIMIT, role=role, limit=limit)))
    return lines
