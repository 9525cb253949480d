"""What a message says in words: its text with names instead of ids, and what it holds besides its text.

Forwarded messages, embeds, stickers and polls become words, so that a message that holds nothing else can be
answered. Their words are bounded. Pure functions of Discord's messages; no request is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import discord

MOST_WORDS = 4000
"""Longest text of what a message holds besides its own text, characters: two messages."""

_MARKUP = re.compile(
    r"<(?:@!?(?P<user>\d{1,20})|@&(?P<role>\d{1,20})|#(?P<channel>\d{1,20})"
    r"|a?:(?P<emoji>\w{2,32}):\d{1,20}|t:(?P<time>-?\d{1,14})(?::(?P<style>[tTdDfFR]))?"
    r"|/(?P<command>[-\w ]{1,100}):\d{1,20}|id:(?P<page>customize|browse|guide|linked-roles))>"
)
_LINK = re.compile(r"discord(?:app)?\.com/channels/\d{1,20}/(\d{1,20})/(\d{1,20})")
_TIMES = {"t": "%H:%M UTC", "T": "%H:%M:%S UTC", "d": "%Y-%m-%d", "D": "%Y-%m-%d"}
_SPACES = re.compile(r"(?<![ \t])[ \t]{2,}")


def words_of(message: discord.Message, *, me: int) -> str:
    """Return all words of a message, without the mention of the bot.

    Of the bot's own messages only the text is returned.
    """
    text = readable_text(message.content, message, me=me)
    if message.author.id == me:
        return text
    held = "\n".join(_held_by(message, me))[:MOST_WORDS]
    return "\n".join(part for part in (text, held) if part)


def files_of(message: discord.Message) -> list[discord.Attachment]:
    """Return the attachments of a message, and those of the messages that it forwards."""
    return [*message.attachments, *(one for shot in message.message_snapshots for one in shot.attachments)]


def without_quote(text: str) -> str:
    """Return a text without the quoted lines at its start."""
    lines = text.split("\n")
    while lines and lines[0].startswith((">", "-#")):
        del lines[0]
    return "\n".join(lines)


def links_in_quotes(copy: discord.Message) -> list[int]:
    """Return ids of messages in the channel that a webhook's message links in embeds and quoted lines."""
    quoted = copy.content.removesuffix(without_quote(copy.content))
    texts = [quoted, *(embed.description or "" for embed in copy.embeds)]
    found = (one for text in texts for one in _LINK.findall(text))
    return [int(message_id) for channel_id, message_id in found if int(channel_id) == copy.channel.id]


def mentions_own_role(message: discord.Message) -> bool:
    """Return whether a message pings the role that Discord manages for the bot.

    People pick it from the list of suggestions, because it has the name of the bot.
    """
    me = None if message.guild is None else message.guild.me
    return me is not None and any(role.managed and role in me.roles for role in message.role_mentions)


def readable_text(text: str, message: discord.Message, *, me: int) -> str:
    """Return a text with names instead of ids, as Discord shows it.

    Args:
        text: Text of a message, or of a part of it.
        message: The message, which knows the people, roles and channels.
        me: The bot's own user id; the mention of the bot and of its role is removed.
    """
    people = {user.id: f"@{user.display_name}" for user in message.mentions} | {me: ""}
    # A function replaces, because a template would interpret a backslash in a name.
    readable = _MARKUP.sub(lambda found: _name_of(found, message, people), text)
    return _SPACES.sub(" ", readable).strip()


def _name_of(found: re.Match[str], message: discord.Message, people: dict[int, str]) -> str:
    """Return the words that Discord shows for one piece of markup."""
    guild, (kind, value) = message.guild, (found.lastgroup, found[found.lastgroup or 0])
    match kind:
        case "user":
            return people.get(int(value), found[0])
        case "role":
            role = None if guild is None else guild.get_role(int(value))
            own = role is not None and guild is not None and role.managed and role in guild.me.roles
            return "" if own else f"@{role.name if role else 'unknown-role'}"
        case "channel":
            channel = None if guild is None else guild.get_channel_or_thread(int(value))
            return f"#{channel.name if channel else 'unknown'}"
        case "time" | "style":
            return _time(found)
        case "emoji":
            return f":{value}:"
        case "command":
            return f"/{value}"
        case _:
            return value


def _time(found: re.Match[str]) -> str:
    """Return the date and time of a timestamp, in UTC."""
    try:
        moment = datetime.fromtimestamp(int(found["time"]), UTC)
    except (OverflowError, ValueError, OSError):
        return found[0]
    return moment.strftime(_TIMES.get(found["style"] or "f", "%Y-%m-%d %H:%M UTC"))


def _held_by(message: discord.Message, me: int) -> Iterator[str]:
    """Yield the words of what a message holds besides its text."""
    for shot in message.message_snapshots:
        parts = [
            readable_text(shot.content, message, me=me),
            *_embeds(shot.embeds),
            *_stickers(shot.stickers),
        ]
        if said := "\n".join(part for part in parts if part):
            yield f"(forwarded message) {said}"
    if message.webhook_id is None or not links_in_quotes(message):  # a proxy's link to what it replies to
        yield from _embeds(message.embeds)
    yield from _stickers(message.stickers)
    if message.poll is not None:
        answers = "; ".join(answer.text for answer in message.poll.answers if answer.text)
        yield f"(poll) {message.poll.question} {answers}"


def _stickers(stickers: Sequence[discord.StickerItem]) -> Iterator[str]:
    return (f"(sticker) {sticker.name}" for sticker in stickers)


def _embeds(embeds: Sequence[discord.Embed]) -> Iterator[str]:
    """Yield the words of each embed: a preview of a link, or what another bot shows."""
    for embed in embeds:
        fields = (part for field in embed.fields for part in (field.name, field.value))
        parts = (embed.author.name, embed.title, embed.description, *fields, embed.footer.text)
        if said := "\n".join(part for part in parts if part):
            yield f"(embed) {said}"
