"""Address of a PostgreSQL database: every option of libpq is translated for asyncpg or refused by name.

asyncpg would send an option that it does not know to the server as a setting, or raise a TypeError.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from storage.errors import StorageError

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl", "passfile")
CHOICES = {
    "sslmode": MODES,
    "target_session_attrs": (
        "any",
        "read-write",
        "primary",
    ),  # the others may give a server that cannot write
    "ssl_min_protocol_version": ("TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": ("TLSv1.2", "TLSv1.3"),
}
"""Options that asyncpg reads from its own address, and their values."""
NO_EFFECT = {
    "channel_binding": ("prefer", "disable"),
    "gssencmode": ("prefer", "disable"),
    "client_encoding": ("utf8", "UTF8", "UTF-8", "utf-8", "auto"),
    "load_balance_hosts": ("disable",),
    "replication": ("false", "off", "no", "0"),
    "sslcompression": ("0",),
    "sslsni": ("1",),
    "sslnegotiation": ("postgres",),
    "keepalives": ("1",),
}
"""Options with values that mean what asyncpg does anyway."""
_ADVICE = {
    "channel_binding": "; leave it out, and use sslmode=verify-full with sslrootcert",
    "service": "; write host, user and database into the address",
    "sslpassword": "; use a key file without a password, readable for the bot only",
}


def address(url: str, password_env: str, option: str = "url") -> tuple[URL, dict[str, Any], dict[str, str]]:
    """Parse the address and add the password from the environment.

    Args:
        url: The address.
        password_env: Name of the variable with the password.
        option: Name of the setting that holds the address, for messages.

    Returns:
        The address without options, arguments of asyncpg, and settings of the connection.

    Raises:
        StorageError: It is not such an address, holds a password, or has an option that cannot be used.
    """
    expected = f"Expected [storage] {option} to be postgresql://user@host:port/database"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as exc:
        raise StorageError(f"{expected}, found something else.") from exc
    if parsed.drivername not in ("postgresql", "postgres"):
        raise StorageError(f"{expected}, found {parsed.drivername}://.")
    if parsed.password or "password" in parsed.query:
        raise StorageError(f"{expected}, found a password in it; move it to the variable {password_env}.")
    if parsed.host and parsed.host.lower().startswith("%2f"):  # the folder of a socket
        parsed = parsed.set(host=unquote(parsed.host))
    try:
        said = _read(parsed)
        arguments, settings = _translated(said)
    except _Unusable as exc:
        raise StorageError(f"[storage] {option}: cannot use the option {exc}.") from exc
    password = os.environ.get(password_env, "").strip() or None
    parsed = parsed.set(
        drivername="postgresql+asyncpg",
        username=parsed.username or said.get("user"),
        database=parsed.database or said.get("dbname"),
        password=password,
        query={},
    )
    return parsed, arguments, settings


class _Unusable(Exception):
    """An option of the address cannot be used; the message names it."""


def _read(parsed: URL) -> dict[str, str]:
    options = dict(parsed.query)
    if not isinstance(host := options.get("host", ""), str):
        options["host"] = ",".join(host)
    for name, value in options.items():
        if not isinstance(value, str):
            raise _refusal(name, "it is given more than once")
    return {name: str(value) for name, value in options.items()}


def _translated(options: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    arguments: dict[str, Any] = {}
    settings: dict[str, str] = {}
    own: dict[str, str] = {}
    if "ssl" in options:  # asyncpg's name for it
        options = {"sslmode": options["ssl"], **options}
    for name, value in options.items():
        if name in ("user", "dbname", "ssl"):
            continue
        if name == "host":
            own[name] = value
        elif name == "port":
            if not all(port.isascii() and port.isdigit() for port in value.split(",")):
                raise _refusal(name, "expected numbers")
            own[name] = value
        elif name in ("application_name", "options"):
            settings[name] = value
        elif name == "connect_timeout":
            if not value.isascii() or not value.isdigit():
                raise _refusal(name, "expected a number of seconds")
            if int(value):  # 0 means no limit in libpq; then asyncpg's own limit of a minute holds
                arguments["timeout"] = float(value)
        elif name in FILES:
            own[name] = _file(name, value)
        elif name in CHOICES:
            if value not in CHOICES[name]:
                raise _refusal(name, f"expected one of {', '.join(CHOICES[name])}")
            own[name] = value
        elif value not in NO_EFFECT.get(name, ()):
            raise _refusal(name, f"this value is not supported{_ADVICE.get(name, '; leave it out')}")
    ports, hosts = own.get("port", ""), own.get("host", "")
    if "," in ports and ports.count(",") != hosts.count(","):
        raise _refusal("port", "expected one port, or one for each host")
    if own.get("sslmode", "").startswith("verify") and "sslrootcert" not in own and not _has_default_root():
        raise _refusal("sslmode", f"{own['sslmode']} needs sslrootcert, a file of certificates or system")
    if own:
        arguments["dsn"] = "postgresql://?" + urlencode(own)
    return arguments, settings


def _file(name: str, value: str) -> str:
    path = ssl.get_default_verify_paths().cafile if (name, value) == ("sslrootcert", "system") else value
    if not path or not os.access(path, os.R_OK) or not Path(path).is_file():
        raise _refusal(name, "expected a file that this user can read")
    return path


def _has_default_root() -> bool:
    return bool(os.environ.get("PGSSLROOTCERT")) or (Path.home() / ".postgresql" / "root.crt").is_file()


def _refusal(option: str, why: str) -> _Unusable:
    return _Unusable(f"{option}: {why}")
