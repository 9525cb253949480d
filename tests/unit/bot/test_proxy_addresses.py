"""Addresses of proxies: which one leads to Discord, and what is refused, without a word of a password."""

from __future__ import annotations

import pytest

from bot.config import ConfigError, discord_proxy, parse_settings
from bot.proxies import Proxy, ProxyUnusable, is_loopback, parse_proxy, spare_this_machine
from bot.settings import BotSettings

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "http://p:1"}, "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ({"all_proxy": "p:1"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "ALL_PROXY": "http://q:1"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:1"}, "http://q:1"),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "discord.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "a.b, .discord.com, *.c"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "localhost"}, "http://p:1"),
        ({"HTTPS_PROXY": "https://[::1]:3128/"}, "https://[::1]:3128"),
    ],
)
def test_the_environment_names_the_proxy_to_discord(environment, found, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    proxy = discord_proxy(BotSettings())

    assert (proxy and proxy.address) == found


def test_the_configuration_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://p:1")

    assert discord_proxy(BotSettings(proxy="q:2")) == Proxy("http://q:2", "http://q:2")
    assert discord_proxy(BotSettings(proxy="direct")) is None


def test_a_password_is_kept_for_the_proxy_and_never_shown():
    proxy = parse_proxy("http://us%40er:pass-word@h:1")

    assert (proxy.address, proxy.url) == ("http://h:1", "http://us%40er:pass-word@h:1")
    assert "pass-word" not in repr(proxy)


UNUSABLE = (
    "socks5://u:pass-word@h:1",
    "socks4a://h",
    "ftp://u:pass-word@h",
    "http://",
    "http://h:x",
    "http://h:99999",
)
UNUSABLE += (
    "http://[::1",
    "http://u:pass-word@h:1/path",
    "http://h h:1",
    "http://h:1\nX: y",
    "\x00",
    "“http://h:1”:x",
)


@pytest.mark.parametrize("address", UNUSABLE)
def test_what_is_no_http_proxy_is_refused_in_one_line(address, monkeypatch):
    with pytest.raises(ProxyUnusable, match=r"^expected http://host:port, found") as refused:
        parse_proxy(address)
    with pytest.raises(ConfigError, match=r"^c: \[bot\] proxy: expected") as in_file:
        parse_settings({"bot": {"proxy": address}}, source="c")
    for said in (str(refused.value), str(in_file.value)):
        assert "pass-word" not in said and "\n" not in said

    if "\x00" not in address:
        monkeypatch.setenv("HTTPS_PROXY", address)
        with pytest.raises(ConfigError, match=r'^HTTPS_PROXY: expected .*"direct"'):
            discord_proxy(BotSettings())


def test_the_file_may_hold_no_password_of_a_proxy():
    with pytest.raises(ConfigError, match=r"no user and no password in this file.*HTTPS_PROXY") as refused:
        parse_settings({"bot": {"proxy": "http://u:pass-word@h:1"}})

    assert "pass-word" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "spared"),
    [
        ({}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTPS_PROXY": "h"}, "localhost,127.0.0.1,::1"),
        ({"all_proxy": "h", "NO_PROXY": " a.b ,,127.0.0.1"}, "a.b,127.0.0.1,localhost,::1"),
        ({"ALL_PROXY": "h", "NO_PROXY": "a", "no_proxy": "b"}, "b,localhost,127.0.0.1,::1"),
    ],
)
def test_this_machine_is_added_to_what_needs_no_proxy(given, spared):
    environ = dict(given)
    spare_this_machine(environ)
    again = dict(environ)
    spare_this_machine(again)

    assert environ == (given if spared is None else given | {"NO_PROXY": spared, "no_proxy": spared})
    assert again == environ


def test_no_proxy_for_anything_stays_that():
    environ = {"ALL_PROXY": "h", "NO_PROXY": "*"}
    spare_this_machine(environ)

    assert environ == {"ALL_PROXY": "h", "NO_PROXY": "*"}


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("127.9.9.9", True),
        ("::1", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("10.0.0.1", False),
        ("h", False),
    ],
)
def test_loopback_addresses_are_known(host, is_here):
    assert is_loopback(host) is is_here
