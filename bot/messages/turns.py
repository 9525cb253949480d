"""Earlier messages -> turns: who said what, question beside answer, and where a conversation begins.

Pure functions of Discord's messages; :mod:`bot.messages.context_reader` fetches them. A name is text of a
member, so it reaches the language model only as :func:`name_of` leaves it: bounded, on one line, of letters
and digits, and never as a role of the prompt.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta

import discord

from bot.generation import Turn
from bot.messages.attachments import joined
from bot.messages.conversation import COPIED_WITHIN, is_note, parent_id_of, repeats
from bot.messages.words import words_of

LONGEST_NAME = 24
"""Longest name of a member in a prompt, characters."""
UNNAMED = "Member"
"""Name of a member whose own name says nothing or may be taken for a role."""
LONGEST_START = 1000
"""Longest text of the message that a thread began with, characters."""
MOST_TAGS = 5

_ROLE = re.compile(r"\b(?:system|assistant|user|human|developer|instructions?|prompt|tool)\b", re.IGNORECASE)
_WHOLE = re.compile(rf"ai|bot|model|{UNNAMED}( \d+)?", re.IGNORECASE)
_IN_NAMES = frozenset("LMN")
"""First letters of the Unicode categories of signs in names: letters, their marks, numbers."""


def name_of(name: str, taken: Collection[str] = ()) -> str:
    """Return a member's name as a prompt may hold it.

    Args:
        name: The name as members see it.
        taken: Names that somebody else has: the bot, other members.
    """
    signs = (
        sign if sign in "'-" or unicodedata.category(sign)[0] in _IN_NAMES else " "
        for sign in unicodedata.normalize("NFKC", name)
    )
    plain = " ".join("".join(signs).split())[:LONGEST_NAME].strip(" '-")
    if not plain or _WHOLE.fullmatch(plain) or _ROLE.search(plain):
        plain = UNNAMED
    others = {one.casefold() for one in taken}
    number, unique = 1, plain
    while unique.casefold() in others:
        number += 1
        unique = f"{plain} {number}"
    return unique


def names_in(
    messages: Sequence[discord.Message], seen: Iterable[discord.Message], *, me: int, own: str
) -> dict[int, str]:
    """Return the name of each person who wrote one of the messages, without the bot; none if it is one alone.

    Args:
        messages: The messages of a conversation, oldest first. The history lacks the names that members have
            in the server.
        seen: Messages from the gateway, which hold these names.
        me: The bot's own user id.
        own: The bot's own name.
    """
    people = {one.author.id: one.author.display_name for one in messages if one.author.id != me}
    if len(people) < 2:
        return {}
    guild = messages[0].guild
    here = (one for one in seen if one.guild == guild and one.author.id in people)
    people |= {one.author.id: one.author.display_name for one in here}
    names: dict[int, str] = {}
    for person, name in people.items():
        names[person] = name_of(name, [own, *names.values()])
    return names


def turns_of(
    earlier: Sequence[discord.Message], files: Mapping[int, str], names: Mapping[int, str], *, me: int
) -> tuple[Turn, ...]:
    """Turn earlier messages into turns, without the bot's notes; chunks of one reply become one turn.

    Args:
        earlier: The messages, in the order of the turns.
        files: Message id -> the text of its files.
        names: Person -> name before their words.
        me: The bot's own user id.
    """
    turns: list[Turn] = []
    before: discord.Message | None = None
    for message in earlier:
        text = joined(words_of(message, me=me), files.get(message.id, ""))
        own = message.author.id == me
        if not text or (own and is_note(message)):
            continue
        continues = own and before is not None and before.author.id == me and message.reference is None
        if continues:
            turns[-1] = Turn("assistant", f"{turns[-1].text}\n{text}")
        else:
            said = f"{names[message.author.id]}: {text}" if message.author.id in names else text
            turns.append(Turn("assistant" if own else "user", said))
        before = message
    return tuple(turns)


def start_of_thread(
    thread: discord.Thread, start: discord.Message | None, names: Mapping[int, str], *, me: int
) -> list[Turn]:
    """Return the turns of a thread's title, tags and first message.

    Args:
        thread: The thread.
        start: Its first message; None if it has none, the bot may not read it, or it is the prompt itself.
        names: Person -> name before their words.
        me: The bot's own user id.
    """
    kind = "forum post" if isinstance(thread.parent, discord.ForumChannel) else "thread"
    tags = ", ".join(" ".join(tag.name.split()) for tag in thread.applied_tags[:MOST_TAGS])
    title = f"({kind}) {' '.join(thread.name.split())}" + (f" [{tags}]" if tags else "")
    said = "" if start is None else words_of(start, me=me)[:LONGEST_START]
    if start is None or not said:
        return [Turn("user", title)]
    if start.author.id == me:
        return [Turn("user", title), Turn("assistant", said)]
    name = names.get(start.author.id)
    return [Turn("user", f"{title}\n{name}: {said}" if name else f"{title}\n{said}")]


def without_copies(messages: Sequence[discord.Message]) -> list[discord.Message]:
    """Return messages without webhook copies of messages that are among them."""
    return [one for one in messages if not any(repeats(one, other) for other in messages if other is not one)]


def copies_of_deleted(page: Sequence[discord.Message], *, me: int) -> dict[int, int]:
    """Return deleted message that the bot answered -> webhook message that stands for it, by id.

    A proxy posts its copy beside the message, so it is the webhook's message closest in time.

    Args:
        page: Messages of one channel, without a gap.
        me: The bot's own user id.
    """
    there, found = {one.id for one in page}, dict[int, int]()
    copies = [one for one in page if is_copy(one)]
    for answer in page:
        asked = parent_id_of(answer) if answer.author.id == me else None
        if asked is None or asked in there:
            continue
        when = discord.utils.snowflake_time(asked)
        near = [one for one in copies if abs(one.created_at - when) <= COPIED_WITHIN]
        if near:
            found[asked] = min(near, key=lambda one: abs(one.created_at - when)).id
    return found


def is_copy(message: discord.Message) -> bool:
    """Return whether a webhook posted a message, as a proxy does."""
    return message.webhook_id is not None and message.interaction_metadata is None


def since_pause(
    messages: Sequence[discord.Message], until: discord.Message, pause: timedelta
) -> list[discord.Message]:
    """Return the messages since the last pause before ``until``; all are oldest first."""
    kept: list[discord.Message] = []
    later = until.created_at
    for message in reversed(messages):
        if later - message.created_at > pause:
            break
        kept.append(message)
        later = message.created_at
    return kept[::-1]


def beside_answers(
    messages: Sequence[discord.Message], copies: Mapping[int, int], *, me: int
) -> list[discord.Message]:
    """Return messages with each answer behind its question, in the order of the questions.

    Args:
        messages: Messages of one conversation, oldest first.
        copies: Deleted question -> the message that stands for it.
        me: The bot's own user id.
    """
    places = {message.id: place for place, message in enumerate(messages)}
    groups: list[tuple[int, bool, int, discord.Message]] = []
    answered = -1  # the place of the question that the latest answer belongs to
    for place, message in enumerate(messages):
        group, own = place, message.author.id == me
        if own and (message.reference is not None or answered < 0):
            asked = parent_id_of(message) or 0
            answered = places.get(copies.get(asked, asked), place)
        if own:
            group = answered
        groups.append((group, own, place, message))
    return [message for *_, message in sorted(groups, key=lambda one: one[:3])]
