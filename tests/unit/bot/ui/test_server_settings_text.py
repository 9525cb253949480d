"""``/config show``: the values in effect, each marked if the server set it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.config import Settings
from bot.generation import name_of_model
from bot.servers.access import GuildAccessList
from bot.servers.daily_limits import limit_of_member, limit_of_server
from bot.servers.server_settings import GuildSettings, view_of
from bot.settings import AccessList, BotSettings, DailyLimit, GeneratorSettings, LimitSettings
from bot.ui.server_settings_text import (
    HOST_ACCESS,
    NOTHING_SET,
    OWN,
    UNREADABLE,
    HostDefaults,
    limit_in_words,
    lines_of,
)

HOST = Settings(
    bot=BotSettings(message_content=True, chat_channels=(1, 2), seeded_reactions=("👍",)),
    generator=GeneratorSettings(kind="openai", model="org/small", models=("org/large",), persona="A clerk."),
    limits=LimitSettings(
        member_messages=20, server_tokens=900, roles={"7": DailyLimit(50, 0), "8": DailyLimit(9)}
    ),
)
OURS = GuildSettings(
    persona="A poet.",
    model="org/large",
    chat_channels=(5,),
    seeded_reactions=("🎉",),
    emoji={":4": 1.0},
    deny=GuildAccessList(roles=(3,)),
    limits=LimitSettings(member_messages=10, server_tokens=5000),
)


def shown(own: GuildSettings, settings: Settings = HOST) -> list[str]:
    return lines_of(own, HostDefaults(settings=settings, chat_channels=(1,), roles=(7,)))[1:]


def test_without_own_settings_every_value_is_the_hosts():
    assert shown(GuildSettings()) == [
        NOTHING_SET,
        "**Persona:** A clerk.",
        "**Model:** small",
        "**I answer every message in:** <#1>",
        "**Reactions under my replies:** 👍",
        "**Meaning of this server's own emoji:** learnt from reactions",
        "**I answer:** everybody, everywhere",
        "**Each member, a day:** 20 messages, any number of tokens",
        "**All members together, a day:** any number of messages, 900 tokens",
        "**Members with** <@&7>**, a day:** 50 messages, any number of tokens",
    ]


def test_own_settings_take_the_hosts_place_and_are_marked_and_the_tighter_limit_is_shown():
    assert shown(OURS) == [
        f"{OWN}**Persona:** A poet.",
        f"{OWN}**Model:** large",
        f"{OWN}**I answer every message in:** <#5>",
        f"{OWN}**Reactions under my replies:** 🎉",
        f"{OWN}**Means a like:** <:emoji:4>",
        f"{OWN}**I do not answer:** <@&3>",
        f"{OWN}**Each member, a day:** 10 messages, any number of tokens",
        f"{OWN}**All members together, a day:** any number of messages, 900 tokens",
        "**Members with** <@&7>**, a day:** 10 messages, any number of tokens",
    ]


@pytest.mark.parametrize("name", [name for name in GuildSettings.__dataclass_fields__ if name != "limits"])
def test_each_setting_alone_marks_its_own_line_and_no_other(name):
    own = replace(GuildSettings(), **{name: OURS.deny if name == "allow" else getattr(OURS, name)})

    lines = shown(own)

    assert [line.startswith(OWN) for line in lines].count(True) == 1, lines


@pytest.mark.parametrize("mine", [0, 1, 5, 20, 100])
@pytest.mark.parametrize("theirs", [0, 1, 5, 20, 100])
def test_the_limits_shown_are_those_that_are_applied(mine, theirs):
    own = GuildSettings(limits=LimitSettings(member_messages=mine, server_messages=mine))
    host = Settings(limits=LimitSettings(member_messages=theirs, server_messages=theirs))
    applied = view_of(host, own).limits

    lines = "\n".join(shown(own, host))

    assert f"**Each member, a day:** {limit_in_words(limit_of_member(applied, ()))}\n" in lines
    assert f"**All members together, a day:** {limit_in_words(limit_of_server(applied))}" in lines


def test_a_model_that_is_not_offered_any_more_is_not_shown_as_the_one_that_writes():
    assert "**Model:** small" in shown(replace(OURS, model="org/gone"))


def test_channels_that_cannot_be_read_are_told():
    deaf = replace(HOST, bot=replace(HOST.bot, message_content=False))

    assert UNREADABLE in shown(OURS, deaf)
    assert UNREADABLE not in shown(OURS)


def test_of_the_hosts_access_lists_only_their_existence_is_shown():
    restricted = replace(HOST, bot=replace(HOST.bot, deny=AccessList(members=(424242,), roles=(434343,))))

    lines = "\n".join(shown(GuildSettings(), restricted))

    assert HOST_ACCESS in lines and "everybody" not in lines
    assert "424242" not in lines and "434343" not in lines


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("packaged", "SmolLM2-135M-Instruct"),
        ("qwen3-8b", "Qwen3-8B"),
        ("large", "large"),
        ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen2.5-1.5B-Instruct"),
        ("/home/ann/secret/models/Qwen2.5.Q4_K_M.gguf", "Qwen2.5.Q4_K_M"),
        ("models/tiny.GGUF", "tiny"),
        ("C:\\models\\tiny.gguf", "tiny"),
        ("./models/folder/", "folder"),
        ("llama3.2:1b", "llama3.2:1b"),
        ("accounts/fireworks/models/llama-v3p1-8b", "llama-v3p1-8b"),
        ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
    ],
)
def test_a_model_is_named_without_owner_folder_ending_or_server(model, name):
    assert name_of_model(model) == name
