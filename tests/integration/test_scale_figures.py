"""The figure of docs/operator/scale.md that bounds the replies a second: requests to Discord for a reply."""

from __future__ import annotations

from collections import Counter

from tests.integration.test_discord_server import agree
from tests.integration.test_discord_server import here as here  # a fixture
from tests.rig.waiting import until

N_REPLIES = 3
SEEDED = "PUT /channels/{}/messages/{}/reactions/{}/@me"


async def test_a_reply_costs_the_requests_that_the_page_on_scale_says(here):
    counted = here.server.limits.counted
    await agree(here)
    await here.ask()
    await until(lambda: counted[SEEDED] == 2, at_most_s=20)
    before = Counter(counted)
    for number in range(N_REPLIES):
        await here.ask(f"and then, number {number}?")
        await until(lambda wanted=2 * number + 4: counted[SEEDED] == wanted, at_most_s=20)

    assert {route: n / N_REPLIES for route, n in (counted - before).items()} == {
        "GET /channels/{}/messages": 1,
        "POST /channels/{}/typing": 1,
        "POST /channels/{}/messages": 1,
        SEEDED: 2,
    }
