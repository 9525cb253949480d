"""Access control: which members the bot answers, and where, by lists of the operator and of server managers.

The pure function :func:`may_talk` decides; the rest describes the speaker. Denied wins over allowed, a thread
belongs to its channel and a channel to its category, and an empty allow list allows everybody. Messages of a
member who may not talk are ignored; commands are answered with one sentence. Members' rights and managers'
tools work for everybody.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import discord

from bot.identity import is_direct, who_clicked, who_wrote
from bot.settings import AccessList, RolesAndPlaces
from storage.records import DIRECT_MESSAGES, Who

ALWAYS = frozenset(
    {
        "privacy",
        "my-data",
        "forget-me",
        "feedback",
        "Rate this reply",
        "why",
        "Why this reply?",
        "limits",
        "stats",
        "config",
        "admin",
    }
)
"""Commands that no list blocks: members' rights and managers' tools. All others make the bot talk, or may do
so in a later version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuildAccessList(RolesAndPlaces):
    """A list made by managers of a server; it holds keyed hashes of members, which the store computes."""

    members: tuple[str, ...] = ()


AnyList = AccessList | GuildAccessList


@dataclass(frozen=True, slots=True)
class Speaker:
    """The member who asks for an answer, and the place.

    Attributes:
        names: The member's Discord id, and their keyed hash in the lists of this server.
        roles: Ids of the member's roles here.
        places: Ids of the channel, the parent channel of a thread, and the category.
        direct: Whether this is a direct message, which has neither roles nor places.
    """

    names: frozenset[int | str]
    roles: frozenset[int] = frozenset()
    places: frozenset[int] = frozenset()
    direct: bool = False


def may_talk(speaker: Speaker, allow: AnyList, deny: AnyList) -> bool:
    """Return whether the bot answers. Denied wins; an empty allow list allows everybody.

    The member and the place must both be allowed. In direct messages lists of roles and places are ignored.
    """
    if _among(speaker, deny.members, deny.roles) or _in(speaker, deny):
        return False
    roles = () if speaker.direct else allow.roles
    welcome = not (allow.members or roles) or _among(speaker, allow.members, roles)
    anywhere = speaker.direct or not (allow.channels or allow.categories)
    return welcome and (anywhere or _in(speaker, allow))


def _among(speaker: Speaker, members: Collection[int | str], roles: Collection[int]) -> bool:
    return not speaker.names.isdisjoint(members) or not speaker.roles.isdisjoint(roles)


def _in(speaker: Speaker, places: RolesAndPlaces) -> bool:
    return not speaker.places.isdisjoint((*places.channels, *places.categories))


def speaker_of(message: discord.Message, name: str) -> Speaker:
    """Return the speaker of a message.

    Args:
        message: Any message.
        name: The author's keyed hash in the lists of this server.
    """
    return _speaker(message.author, message.channel, who_wrote(message), name, direct=is_direct(message))


def speaker_of_click(interaction: discord.Interaction[Any], name: str) -> Speaker:
    """Return the speaker of a command or a button.

    Args:
        interaction: The click.
        name: The member's keyed hash in the lists of this server.
    """
    who = who_clicked(interaction)
    direct = who.guild_id == DIRECT_MESSAGES
    return _speaker(interaction.user, interaction.channel, who, name, direct=direct)


def places_of(channel: Any) -> frozenset[int]:
    """Return the ids of a channel, of the parent channel of a thread, and of the category."""
    parent = getattr(channel, "parent", None)
    category_id = getattr(parent if isinstance(channel, discord.Thread) else channel, "category_id", None)
    found = (getattr(channel, "id", None), getattr(channel, "parent_id", None), category_id)
    return frozenset(one for one in found if one is not None)


def _speaker(person: Any, channel: Any, who: Who, name: str, *, direct: bool) -> Speaker:
    names = frozenset({who.user_id, name})
    if direct:
        return Speaker(names, direct=True)
    return Speaker(names, roles_of(person), places_of(channel))


def roles_of(person: Any) -> frozenset[int]:
    """Return the ids of a member's roles; none in a direct message."""
    return frozenset(role.id for role in getattr(person, "roles", ()))
