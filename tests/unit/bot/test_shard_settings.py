"""The shards of a process, from ``config.toml`` and the environment."""

from __future__ import annotations

import pytest

from bot.config import ConfigError, load_settings
from bot.settings import SPARE, BotSettings
from bot.settings_checks import with_shards


@pytest.mark.parametrize(
    ("given", "count", "ids"),
    [
        ({}, 4, (1,)),
        ({"SIMPATICO_SHARD_IDS": "0,2-3"}, 4, (0, 2, 3)),
        ({"SIMPATICO_SHARD_IDS": "1/3"}, 4, (1,)),
        ({"SIMPATICO_SHARD_IDS": "0/3"}, 4, (0, 3)),
        ({"SIMPATICO_SHARD_COUNT": "16", "SIMPATICO_SHARD_IDS": " 3/8 "}, 16, (3, 11)),
        ({"SIMPATICO_SHARD_COUNT": "2"}, 2, (1,)),
        ({"SIMPATICO_SHARD_IDS": "spare"}, 4, SPARE),
    ],
)
def test_the_environment_overrides_the_file(given, count, ids):
    found = with_shards(BotSettings(shard_count=4, shard_ids=(1,)), given)

    assert (found.shard_count, found.shard_ids) == (count, ids)


@pytest.mark.parametrize("n_processes", range(1, 17))
def test_the_parts_of_all_processes_are_every_shard_once(n_processes):
    given = [
        {"SIMPATICO_SHARD_COUNT": "16", "SIMPATICO_SHARD_IDS": f"{n}/{n_processes}"}
        for n in range(n_processes)
    ]

    parts = [with_shards(BotSettings(), one).shard_ids for one in given]

    assert sorted(one for part in parts for one in part) == list(range(16))


@pytest.mark.parametrize(
    ("settings", "given", "said"),
    [
        (BotSettings(shard_ids=(0,)), {}, "expected a shard_count beside it"),
        (BotSettings(shard_ids=SPARE), {}, "expected a shard_count beside it"),
        (BotSettings(shard_count=2), {"SIMPATICO_SHARD_IDS": "spares"}, "a part such as 2/8"),
        (BotSettings(shard_count=2, shard_ids=(2,)), {}, "different numbers from 0 to 1"),
        (BotSettings(shard_count=2, shard_ids=(-1,)), {}, "different numbers from 0 to 1"),
        (BotSettings(shard_count=2, shard_ids=(1, 1)), {}, "different numbers from 0 to 1"),
        (BotSettings(shard_count=2), {"SIMPATICO_SHARD_IDS": "2/2"}, "a part such as 2/8"),
        (BotSettings(shard_count=2), {"SIMPATICO_SHARD_IDS": "0/3"}, "at most as many as shards"),
        (BotSettings(shard_count=2), {"SIMPATICO_SHARD_IDS": "one"}, "a part such as 2/8"),
        (BotSettings(shard_count=2), {"SIMPATICO_SHARD_IDS": "0-99999"}, "different numbers from 0 to 1"),
        (BotSettings(), {"SIMPATICO_SHARD_COUNT": "many"}, "SIMPATICO_SHARD_COUNT: expected a number"),
        (BotSettings(), {"SIMPATICO_SHARD_COUNT": "20000"}, "SIMPATICO_SHARD_COUNT: expected a number"),
    ],
)
def test_shards_that_cannot_be_are_named(settings, given, said):
    with pytest.raises(ValueError, match=said):
        with_shards(settings, given)


def test_a_spare_needs_a_database_that_the_other_processes_share(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "config.toml"
    config.write_text('[bot]\nshard_count = 2\nshard_ids = "spare"\n')

    with pytest.raises(ConfigError, match=r'\[bot\] shard_ids: "spare" needs PostgreSQL'):
        load_settings(config)

    config.write_text(config.read_text() + '[storage]\nurl = "postgresql://me@here/simpatico"\n')
    assert load_settings(config).bot.shard_ids == SPARE
