"""The small Discord: limits of routes, of all requests and of sessions; what a session gets and repeats."""

from __future__ import annotations

import json
from itertools import pairwise

import discord
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import FixedClock
from tests.rig.discord_server import IdentifyBudget, Limits, Rate, World
from tests.rig.discord_server.gateway import Gateway
from tests.rig.discord_server.limits import route_of
from tests.rig.discord_server.sessions import Session

MESSAGES = "/channels/111111111111111111/messages"
OTHERS = "/channels/222222222222222222/messages"


def test_a_bucket_allows_its_number_for_each_channel_and_says_how_long_to_wait():
    clock = FixedClock()
    limits = Limits(steady=clock.steady)
    allowed = [limits.take("POST", MESSAGES) for _ in range(5)]
    clock.advance(seconds=2)

    refused, elsewhere = limits.take("POST", MESSAGES), limits.take("POST", OTHERS)
    clock.advance(seconds=3)
    later = limits.take("POST", MESSAGES)

    assert [one.headers["X-RateLimit-Remaining"] for one in allowed] == ["4", "3", "2", "1", "0"]
    assert (refused.retry_after_s, refused.headers["X-RateLimit-Scope"]) == (3.0, "user")
    assert (elsewhere.retry_after_s, later.retry_after_s) == (None, None)
    assert limits.refused == {"user": 1}


def test_the_global_limit_counts_all_routes_but_not_answers_to_interactions():
    clock = FixedClock()
    limits = Limits(steady=clock.steady)
    for number in range(50):
        assert limits.take("GET", f"/channels/{10**17 + number}").retry_after_s is None

    refused = limits.take("GET", "/users/@me")
    answer = limits.take("POST", "/interactions/111111111111111111/token/callback")

    assert (refused.everywhere, refused.headers["X-RateLimit-Global"]) == (True, "true")
    assert answer.retry_after_s is None


@settings(deadline=None)
@given(st.integers(10**16, 10**19), st.integers(10**16, 10**19), st.sampled_from(["👍", "a:123456789"]))
def test_a_route_has_no_ids_emoji_or_tokens(channel, message, emoji):
    path = f"/channels/{channel}/messages/{message}/reactions/{emoji}/@me"

    assert route_of("PUT", path) == "PUT /channels/{}/messages/{}/reactions/{}/@me"
    assert route_of("POST", f"/webhooks/{channel}/to.ken") == "POST /webhooks/{}/{}"


@settings(deadline=None)
@given(st.integers(1, 16), st.lists(st.integers(0, 40), max_size=60), st.integers(1, 30))
def test_a_bucket_of_shards_never_starts_two_sessions_within_the_interval(buckets, shards, step_s):
    clock = FixedClock()
    budget = IdentifyBudget(max_concurrency=buckets, steady=clock.steady)
    for shard in shards:
        budget.take(shard)
        clock.advance(milliseconds=100 * step_s)

    for bucket in range(buckets):
        times = [at for at, shard in budget.started if shard % buckets == bucket]
        assert all(later - before >= budget.interval_s for before, later in pairwise(times))
    assert budget.n_used == len(shards) == len(budget.started) + budget.n_too_soon
    assert budget.as_shown()["remaining"] == budget.total - len(shards)


class _Kept:
    """A connection that keeps its frames."""

    def __init__(self) -> None:
        self.frames: list[str] = []

    def send(self, frame: str) -> None:
        self.frames.append(frame)


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 5))
def test_a_resume_sends_each_event_after_the_number_in_order(n_sent, n_seen, n_again):
    session = Session(World().backend, "s", (0, 1), discord.Intents.none())
    for number in range(n_sent):
        session.put("MESSAGE_CREATE", {"number": number})
    kept = _Kept()

    can = session.can_resume(n_seen)
    if can:
        session.resume(kept, n_seen, n_again=n_again)

    assert can == (n_seen <= n_sent)
    events = [session_frame for session_frame in kept.frames if "MESSAGE_CREATE" in session_frame]
    assert len(events) == (n_sent - max(0, n_seen - n_again) if can else 0)
    assert not can or '"RESUMED"' in kept.frames[-1]


@settings(deadline=None)
@given(st.integers(1, 32), st.lists(st.integers(1, 2**63), min_size=1, max_size=20))
def test_every_server_belongs_to_one_shard_and_direct_messages_to_the_first(n_shards, guild_ids):
    backend = World().backend
    sessions = [Session(backend, "s", (one, n_shards), discord.Intents.none()) for one in range(n_shards)]

    for guild_id in guild_ids:
        assert [one.shard_id for one in sessions if one.owns(guild_id)] == [(guild_id >> 22) % n_shards]
    assert [one.shard_id for one in sessions if one.owns(None)] == [0]


def test_a_server_in_an_outage_sends_no_events():
    world = World()
    gateway = Gateway(world, lambda: "token", lambda: None)
    world.backend.subscribers.append(gateway.emit)
    guild = world.create_guild()
    channel = guild.create_text_channel("general")
    intents = discord.Intents(guilds=True, guild_messages=True)
    gateway.sessions["s"] = session = Session(world.backend, "s", (0, 1), intents)
    session.connection = kept = _Kept()

    world.lose(guild.id)
    world.backend.create_message(channel.id, guild.owner.id, "lost")
    world.restore(guild.id)
    world.backend.create_message(channel.id, guild.owner.id, "seen")

    names = ["GUILD_DELETE", "GUILD_CREATE", "MESSAGE_CREATE"]
    assert [json.loads(frame)["t"] for frame in kept.frames] == names
    assert '"unavailable": true' in kept.frames[0]


def test_a_rate_of_a_test_replaces_discords():
    limits = Limits(routes={"POST /channels/{}/messages": Rate(1, 60.0)})

    first, second = limits.take("POST", MESSAGES), limits.take("POST", MESSAGES)

    assert first.retry_after_s is None
    assert second.retry_after_s is not None
