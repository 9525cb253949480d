"""Configuration: every mistake is one line that names the key, what was expected and what was found."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from bot.config import ConfigError, Settings, load_settings, parse_settings, read_secret


def test_no_file_gives_the_defaults():
    assert load_settings(None) == Settings()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"bot": {"tokn": 1}},
            "config: [bot] tokn: unknown key; did you mean token_env?;"
            " config.example.toml lists the known ones",
        ),
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
            'config: [generator] kind: expected "local", "openai" or "plugin:NAME", found \'cloud\'',
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


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_a_byte_order_mark_is_no_mistake(tmp_path, monkeypatch, mark):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOME_TOKEN", raising=False)
    (tmp_path / "config.toml").write_bytes(mark + b'[storage]\ndata_dir = "here"\n')
    (tmp_path / ".env").write_bytes(mark + b"SOME_TOKEN=abc\n")

    assert load_settings(Path("config.toml")).storage.data_dir == Path("here")
    assert read_secret("SOME_TOKEN") == "abc"
    monkeypatch.delenv("SOME_TOKEN")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A\0B=c", "NUL character"),
        (b"TOKEN=a\0b", "NUL character"),
        (b"\xff\xfeT\0O\0", "save it as UTF-8"),
        (b"TOKEN=\xe9", "save it as UTF-8"),
    ],
)
def test_an_env_file_that_cannot_be_read_is_one_line_without_its_content(
    tmp_path, monkeypatch, content, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(content)

    with pytest.raises(ConfigError, match=message) as refusal:
        load_settings(None)
    assert "\n" not in str(refusal.value)


def test_a_tilde_in_a_folder_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/host")
    path = tmp_path / "config.toml"
    path.write_text(
        '[storage]\ndata_dir = "~/data"\nkey_dir = "~"\n'
        '[generator]\nmodel = "~/llm"\nmodel_dir = "~/models"\n'
        '[personalization]\nencoder = "~/encoder"\n[safety]\ntoxicity_model = "~/judge"\n'
        '[operator]\ncurves_dir = "~/curves"\n'
    )

    found = load_settings(path)

    assert (found.storage.data_dir, found.storage.key_dir) == (Path("/home/host/data"), Path("/home/host"))
    assert (found.generator.model, found.generator.model_dir) == ("/home/host/llm", Path("/home/host/models"))
    assert found.personalization.encoder == "/home/host/encoder"
    assert found.safety.toxicity_model == "/home/host/judge"
    assert found.operator.curves_dir == "/home/host/curves"


def test_a_model_of_the_hub_stays_as_it_is(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[generator]\nmodel = "some/model"\n')

    assert load_settings(path).generator.model == "some/model"


def test_the_home_folder_of_an_unknown_user_is_one_clear_line(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[storage]\ndata_dir = "~nobody-of-this-name/data"\n')

    with pytest.raises(ConfigError, match=r"data_dir: .*no such user"):
        load_settings(path)


@pytest.mark.parametrize("around", ["{}", " {}\n", '"{}"', "'{}'", ' "{}" '])
def test_what_tools_put_around_a_secret_is_removed(monkeypatch, around):
    monkeypatch.setitem(os.environ, "SOME_TOKEN", around.format("abc.DEF-1_2"))

    assert read_secret("SOME_TOKEN") == "abc.DEF-1_2"


@pytest.mark.parametrize(
    ("inside", "named"),
    [
        ("\n", "a line end"),
        ("\r", "a line end"),
        ("\u2028", "a line end"),
        (" ", "a blank"),
        ("\t", "a blank"),
        ("\xa0", "a blank"),
        ("“", "typographic quotes"),
        ("’", "typographic quotes"),
        ("é", "not ASCII"),
        ("\u200b", "not ASCII"),
        ("\ufeff", "not ASCII"),
        ("\x1b", "a control character"),
        ("\x7f", "not ASCII"),
    ],
)
def test_a_character_that_no_secret_has_is_named_and_the_secret_is_not_shown(monkeypatch, inside, named):
    monkeypatch.setitem(os.environ, "SOME_TOKEN", f"geheim{inside}wort")

    with pytest.raises(ConfigError, match=named) as refusal:
        read_secret("SOME_TOKEN")
    assert "SOME_TOKEN" in str(refusal.value)
    assert "geheim" not in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["http://a\nb/v1", "http://a b/v1", "“http://a/v1”", "http://a/\u200bv1", "a/v1", "//a"]
)
def test_an_address_with_characters_that_no_address_has_is_refused(url):
    with pytest.raises(ConfigError, match="base_url"):
        parse_settings({"generator": {"base_url": url}})


def test_a_secret_comes_from_the_environment_only(monkeypatch):
    monkeypatch.setitem(os.environ, "SOME_TOKEN", "  abc ")

    assert read_secret("SOME_TOKEN") == "abc"
    assert read_secret("SOME_OTHER_TOKEN") is None


def test_a_wrong_style_is_one_line_that_names_the_key():
    wrong = [{"name": "a", "instruction": "b", "shape": {"most_sentences": -2}}]
    with pytest.raises(ConfigError) as said:
        parse_settings({"generator": {"styles": wrong}})
    (line,) = str(said.value).splitlines()
    assert "[generator] styles.0.shape.most_sentences" in line
    assert line.endswith("found -2")


def every_key() -> list[tuple[str, str]]:
    return [
        (section.name, key.name) for section in fields(Settings) for key in fields(section.default_factory)
    ]


def mistyped(key: str) -> str:
    """Return the key with two letters swapped, which is no other key."""
    middle = len(key) // 2
    return f"{key[: middle - 1]}{key[middle]}{key[middle - 1]}{key[middle + 1 :]}"


@pytest.mark.parametrize(("section", "key"), every_key())
def test_a_mistyped_key_gets_the_right_one(section, key):
    for typed in {mistyped(key), key + "s", key.upper(), key.replace("_", "-"), key.replace("_", "")} - {key}:
        with pytest.raises(ConfigError) as refused:
            parse_settings({section: {typed: 1}})

        if (section, typed) not in every_key():
            assert f"[{section}] {typed}: unknown key; did you mean {key}?" in str(refused.value)


@pytest.mark.parametrize(
    ("raw", "advice"),
    [
        ({"generater": {}}, "[generater]: unknown key; did you mean generator?"),
        (
            {"bot": {"base_url": "http://x"}},
            "[bot] base_url: unknown key; did you mean [generator] base_url?",
        ),
        ({"message_content": True}, "[message_content]: unknown key; did you mean [bot] message_content?"),
        (
            {"generator": {"styles": [{"name": "a", "instruktion": "b"}]}},
            "styles.0.instruktion: unknown key; did you mean instruction?",
        ),
        (
            {"personalization": {"label_weights": {"ratign": 1.0}}},
            "label_weights.ratign: unknown key; did you mean rating?",
        ),
        ({"bot": {"allow": {"member": []}}}, "[bot] allow.member: unknown key; did you mean members?"),
        ({"bot": {"xylophone": 1}}, "[bot] xylophone: unknown key; config.example.toml"),
    ],
)
def test_an_unknown_key_gets_the_closest_one_of_its_table_or_its_section(raw, advice):
    with pytest.raises(ConfigError) as refused:
        parse_settings(raw)

    assert advice in str(refused.value)
