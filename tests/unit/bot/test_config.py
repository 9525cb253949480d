"""Configuration: every mistake is one line that names the key, what was expected and what was found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bot.config import ConfigError, Settings, load_settings, parse_settings, read_secret


def test_no_file_gives_the_defaults():
    assert load_settings(None) == Settings()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"bot": {"tokn": 1}}, "config: [bot] tokn: unknown key; config.example.toml lists the known ones"),
        ({"nope": {}}, "config: [nope]: unknown key; config.example.toml lists the known ones"),
        (
            {"generator": {"candidates": 99}},
            "config: [generator] candidates: input should be less than or equal to 16, found 99",
        ),
        (
            {"bot": {"queue_per_channel": "7"}},
            "config: [bot] queue_per_channel: input should be a valid integer, found '7'",
        ),
        (
            {"bot": {"message_content": 1}},
            "config: [bot] message_content: input should be a valid boolean, found 1",
        ),
        (
            {"generator": {"kind": "cloud"}},
            "config: [generator] kind: input should be 'local' or 'openai', found 'cloud'",
        ),
        (
            {"personalization": {"emoji": {"👍": 3}}},
            "config: [personalization] emoji.👍: input should be less than or equal to 1, found 3",
        ),
        ({"storage": 3}, "config: [storage]: input should be an object, found 3"),
    ],
)
def test_a_mistake_names_key_expectation_and_finding(raw, message):
    with pytest.raises(ConfigError) as caught:
        parse_settings(raw)

    assert str(caught.value) == message


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_settings({"bot": {"a": 1, "b": 2}})

    assert len(str(caught.value).splitlines()) == 2


def test_chat_channels_need_the_message_content_intent():
    with pytest.raises(ConfigError, match="message_content = true"):
        parse_settings({"bot": {"chat_channels": [5]}})


def test_folders_are_relative_to_the_file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[storage]\ndata_dir = "here"\nkey_dir = "/elsewhere"\n')

    settings = load_settings(path)

    assert settings.storage.data_dir == tmp_path / "here"
    assert settings.storage.key_dir == Path("/elsewhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"[bot", "not valid TOML"), (b"\xff\xfe", "cannot be read")],
)
def test_an_unreadable_file_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "config.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        load_settings(path)


def test_a_secret_comes_from_the_environment_only(monkeypatch):
    monkeypatch.setitem(os.environ, "SOME_TOKEN", "  abc ")

    assert read_secret("SOME_TOKEN") == "abc"
    assert read_secret("SOME_OTHER_TOKEN") is None
