"""Connection to a model server: proxies, and an address and logs that show no secret."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit, urlunsplit

import openai

from bot.generation import GeneratorUnavailable
from bot.proxies import is_loopback
from personalization.loading_errors import broken_package


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
