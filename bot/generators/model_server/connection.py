"""Connection to a model server: a client that keeps secrets of OpenAI's, proxies, and what is shown of it."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import openai
from openai import AsyncOpenAI

from bot.generation import GeneratorUnavailable
from bot.proxies import is_loopback
from personalization.loading_errors import broken_package


class ServerClient(AsyncOpenAI):
    """Client of one server. What ``OPENAI_*`` variables hold goes to OpenAI's own servers alone.

    The library reads organization, project, further keys and headers from the environment, also for other
    addresses, and again in each copy with other options.

    Args:
        base_url: Address of the server.
        options: Further options of the library's client.

    Raises:
        GeneratorUnavailable: The environment names a proxy that cannot be used.
    """

    def __init__(self, *, base_url: Any, **options: Any) -> None:
        options.setdefault("http_client", http_client(str(base_url)))
        super().__init__(base_url=base_url, **options)
        if is_openai(str(self.base_url)):
            return
        self.organization = self.project = self.admin_api_key = self.webhook_secret = None
        self._custom_headers, self._ambient_authorizations = {}, frozenset()


def is_openai(address: str) -> bool:
    """Return whether an address is one of OpenAI's own, over TLS."""
    parts = urlsplit(address)
    return parts.scheme == "https" and f".{parts.hostname}".endswith(".openai.com")


def http_client(base_url: str) -> openai.DefaultAsyncHttpxClient:
    """Return a client that uses the proxies of the environment, except for a server on this machine.

    Raises:
        GeneratorUnavailable: The environment names a proxy that cannot be used.
    """
    try:
        return openai.DefaultAsyncHttpxClient(trust_env=not is_loopback(urlsplit(base_url).hostname or ""))
    except (ImportError, ValueError) as exc:
        why = broken_package(exc) or "a proxy in the environment has no valid address"
        raise GeneratorUnavailable(f"{why}; check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY") from None


def without_password(address: str) -> str:
    """Return an address for display, without user, password, query and fragment."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def keep_texts_out_of_logs() -> None:
    """Keep the client library above DEBUG, at which it logs whole requests."""
    for name in ("openai", "httpx2", "httpcore2"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.INFO))
