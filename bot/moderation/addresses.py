"""Finds addresses of invitations to servers, however they are written. Pure functions, linear in the text.

A text is read as it is shown (without signs of markdown) and as it stands. Both readings are normalised as
browsers do before host and path are judged: Unicode NFKC, letters without case, ideographic full stops,
invisible signs, percent encoding. The path is then normalised by a WHATWG URL parser (dot segments, ports,
names and passwords, backslashes).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

import ada_url

from bot.moderation.visible_text import visible

_HOST = re.compile(
    r"(?P<invites>discord\s*+\.\s*+gg|(?:(?:dsc|invite|dcd)\.gg|discord\.(?:me|io|li|link))(?=[./:\\?#]))"
    r"|discord(?:app)?\s*+\.\s*+com|watchanimeattheoffice\.com|discord:(?=[/\\])"
    r"|disboard\.org|top\.gg|discords\.com|disforge\.com|discadia\.com"  # lists of servers
)
_FULL_STOPS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61\u2024", "."))
_MARKS = re.compile(r"[\\*`_]|\|\||~~")
_SPACE = re.compile(r"[\s<>\"]")
_SERVERS = ("server", "servers")
"""Parts of a path under which a site offers servers to join."""
_LONGEST = 2000
"""Longest address that a message of Discord holds, characters."""


def has_invitation(text: str) -> bool:
    """Return whether a text holds an invitation to a server, in code too, because people can copy it."""
    readings = {_normalised(text), _normalised(_MARKS.sub("", text)), _normalised(text.replace("\\", "/"))}
    return any(_is_invitation(address) for reading in readings for address in _addresses(reading))


def _normalised(text: str) -> str:
    """Return a text in the form in which host and path are judged."""
    for _ in range(3):  # what is encoded twice is decoded by the page that redirects
        text = unquote(text)
    return visible(text).translate(_FULL_STOPS).casefold()


def _addresses(text: str) -> Iterator[tuple[bool, str]]:
    """Yield whether a host is one of invitations alone, and each host with its path, up to the next host."""
    hosts = list(_HOST.finditer(text))
    for index, host in enumerate(hosts):
        stop = hosts[index + 1].start() if index + 1 < len(hosts) else len(text)
        rest = text[host.end() : min(stop, host.end() + _LONGEST)]
        if rest.lstrip().startswith(("/", ":")):  # "discord.com / invite"
            rest = rest.lstrip()
        rest = re.sub(r"\A([:\d.]*+[/\\]++)\s++", r"\1", rest)
        rest = _SPACE.split(rest, maxsplit=1)[0]
        yield host["invites"] is not None, "".join(host.group().split()) + rest


def _is_invitation(found: tuple[bool, str]) -> bool:
    always, address = found
    if always:
        return True
    if address.startswith("discord:"):
        address = "discord.com/" + address.removeprefix("discord:").lstrip("/\\-")
        address = address.replace("discord.com/discord.com", "discord.com", 1)
    try:
        url = ada_url.URL(f"https://{address}")
    except ValueError:
        return re.search(r"[/\\]invite", address) is not None
    path = [part for part in unquote(url.pathname).split("/") if part not in ("", ".")]
    return any(part.startswith("invite") or part in _SERVERS for part in path[:2]) or "/invite" in unquote(
        url.search
    )
