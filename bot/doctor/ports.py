"""Check of the only port that the bot opens: metrics and health, if configured."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from bot.doctor import Finding, failed, ok, warning
from bot.settings import OperatorSettings


def examine_ports(settings: OperatorSettings) -> Iterator[Finding]:
    """Check that the port of metrics and health is free."""
    host, port = settings.metrics_host, settings.metrics_port
    if not port:
        yield ok("port", "no port is opened (metrics_port = 0)")
        return
    try:
        with socket.create_server((host, port), family=_family(host)):
            yield ok("port", f"{host}:{port} is free, for metrics and health")
    except OSError as exc:
        if isinstance(exc, PermissionError | socket.gaierror):
            yield failed(
                "port", f"{host}:{port} cannot be opened ({exc.strerror}); choose another metrics_port"
            )
        else:
            yield warning(
                "port",
                f"{host}:{port} cannot be opened now ({exc.strerror}); fine if the bot is running, else"
                " choose another metrics_port",
            )


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
