"""Proxies of the environment: the proxy to Discord, and none on the way to this machine.

The libraries that ask the hub and a model server read ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and
``NO_PROXY`` themselves. discord.py takes one proxy as an argument instead, so it is chosen here. Only
:mod:`bot.config` calls this module with the environment. Imports nothing heavy.

Errors::

    ProxyUnusable    a proxy is named that cannot be used
    NotDiscord       something else answers in Discord's place
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

DIRECT = "direct"
"""Value of ``[bot] proxy`` that uses no proxy, whatever the environment says."""

_DISCORD = "discord.com"
_HERE = ("localhost", "127.0.0.1", "::1")
_EXPECTED = "expected http://host:port"


class ProxyUnusable(Exception):
    """A proxy cannot be used; the message says what was expected and never shows a password."""


class NotDiscord(OSError):
    """Something else answered in Discord's place, such as the login page of a network or a filter."""


class _LogsIn(Protocol):
    @property
    def user(self) -> object: ...


@contextmanager
def expecting_discord(client: _LogsIn) -> Generator[None]:
    """Run a login; an answer that is not Discord's is an error of its own.

    Raises:
        NotDiscord: The client could not read the answer.
    """
    try:
        yield
    except (TypeError, KeyError) as exc:
        if client.user is not None:  # Discord has answered, so it is a fault of the code
            raise
        raise NotDiscord(
            "something else answered in its place, such as the login page of a network or a filter"
        ) from exc


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        address: ``http://host:port``, for display.
        url: The same with user and password, if it asks for them.
    """

    address: str
    url: str = field(repr=False)

    @property
    def has_user(self) -> bool:
        """Whether the address names a user."""
        return self.url != self.address


def proxy_to_discord(configured: str) -> Proxy | None:
    """Return the proxy between the bot and Discord; None: it connects directly.

    Args:
        configured: ``[bot] proxy``. Empty: the proxy of the environment, unless ``NO_PROXY`` names
            discord.com.

    Raises:
        ProxyUnusable: The environment names a proxy that is no HTTP proxy.
    """
    if configured == DIRECT:
        return None
    if configured:
        return parse_proxy(configured)
    found = getproxies()
    name = "https" if "https" in found else "all"
    if name not in found or proxy_bypass(_DISCORD):
        return None
    try:
        return parse_proxy(found[name])
    except ProxyUnusable as exc:
        raise ProxyUnusable(
            f'{name.upper()}_PROXY: {exc}; correct it, or set [bot] proxy = "{DIRECT}" to connect to Discord'
            " without a proxy"
        ) from None


def client_options(proxy: Proxy | None) -> dict[str, Any]:
    """Return the arguments with which a Discord client uses the proxy; none without one."""
    return {} if proxy is None else {"proxy": proxy.url}


def parse_proxy(address: str) -> Proxy:
    """Return the proxy of an address; without a scheme it is an HTTP proxy, as elsewhere.

    Raises:
        ProxyUnusable: It is no address of an HTTP proxy.
    """
    if not address.isprintable() or any(char.isspace() for char in address):
        raise ProxyUnusable(f"{_EXPECTED}, found a blank or a control character inside")
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number, or a bracket without its partner
        raise ProxyUnusable(f"{_EXPECTED}, found no valid address") from None
    if parts.scheme.startswith("socks"):
        raise ProxyUnusable(f"{_EXPECTED}, found a SOCKS proxy, which Discord cannot be reached through")
    if parts.scheme not in ("http", "https") or not host or parts.path not in ("", "/"):
        raise ProxyUnusable(f"{_EXPECTED}, found no valid address")
    place = f"[{host}]" if ":" in host else host
    address = f"{parts.scheme}://{place}" + ("" if port is None else f":{port}")
    user, _, _ = parts.netloc.rpartition("@")
    return Proxy(address, address.replace("://", f"://{user}@", 1) if user else address)


def proxy_refusal(exc: Exception, proxy: Proxy | None) -> str | None:
    """Explain an error of the way to Discord that the proxy caused; None if it did not.

    Args:
        exc: What the connection raised.
        proxy: The proxy in use.
    """
    kind = type(exc).__name__
    if proxy is None or kind not in ("ClientHttpProxyError", "ClientProxyConnectionError"):
        return None
    otherwise = f'; correct HTTPS_PROXY or [bot] proxy, or set [bot] proxy = "{DIRECT}"'
    if kind == "ClientProxyConnectionError":
        return f"the proxy {proxy.address} to Discord cannot be reached{otherwise}"
    status = getattr(exc, "status", 0)
    if status == 407:
        return (
            f"the proxy {proxy.address} asks for a user and a password (status 407): set HTTPS_PROXY, in the"
            " environment or in .env, to http://user:password@host:port"
        )
    return f"the proxy {proxy.address} refuses the way to Discord (status {status}){otherwise}"


def spare_this_machine(environ: MutableMapping[str, str] = os.environ) -> None:
    """Add this machine to ``NO_PROXY`` when a proxy is set: no library asks a proxy for it."""
    if not any(value for name, value in environ.items() if name.lower().endswith("_proxy")):
        return
    named = environ.get("no_proxy", environ.get("NO_PROXY", ""))
    if named.strip() == "*":
        return
    hosts = [host for host in (part.strip() for part in named.split(",")) if host]
    spared = ",".join([*hosts, *(host for host in _HERE if host not in hosts)])
    environ["NO_PROXY"] = environ["no_proxy"] = spared


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: localhost or a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost" or host.rstrip(".").lower().endswith(".localhost")
