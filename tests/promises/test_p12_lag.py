"""P12: training never stalls the bot.

Rounds run without a pause over members with hundreds of labels each, in the worker process of the running
bot, and the event loop is watched from inside. What is compared is how much CPU time the loop's thread spends
between two ticks of a task, because that does not depend on what else the machine does. In full size the
lag by the clock is asserted too: p99 under 20 ms.

Control: the same rounds solved on the event loop hold it up many times longer.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future

import pytest

from bot.composition import House, open_house
from bot.config import parse_settings
from personalization.features import FeatureMap
from storage.records import Impression, Place, Who
from tests.fakes import HashEncoder
from tests.rig.lag import Lag, measured
from tests.rig.size import FULL, sized

pytestmark = [pytest.mark.promise("P12"), pytest.mark.slow]

MEMBERS = [Who(1, 100 + number) for number in range(sized(ci=6, full=60))]
N_REPLIES = sized(ci=150, full=400)
N_ROUNDS = sized(ci=4, full=40)
ENCODER = HashEncoder(384)


class OnTheLoop(Executor):
    """Does the work where it is handed in."""

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as exc:
            future.set_exception(exc)
        return future


async def teach(house: House) -> None:
    """Every member has an opinion on every reply."""
    store, features = house.store, FeatureMap(ENCODER)
    for who in MEMBERS:
        await store.record_consent(who)
    for number in range(N_REPLIES):
        text = f"reply {number}" + " and more" * (number % 9)
        impression = Impression(
            (text,), ("plain",), 0, (0.0,), (0.0,), (1.0,), "greedy", 0,
            features.feature_id, features.features([text])[0].tobytes(),
        )  # fmt: skip
        await store.record_impression(MEMBERS[0], Place(1, (number + 1,)), impression)
        for place, who in enumerate(MEMBERS):
            emoji = "👍" if (number % 9 > 4) == (place % 2 == 0) else "👎"
            await store.record_reaction(who, number + 1, emoji, added=True)


async def rounds(house: House) -> None:
    """Without a pause; a new label makes each member due again."""
    for number in range(N_ROUNDS):
        for who in MEMBERS:
            await house.store.record_reaction(who, 1 + number, "🎉", added=True)
        assert (await house.trainer.run_round()).n_members == len(MEMBERS)


async def lag_of(folder, executor: Executor | None) -> Lag:
    """How the loop was held up while rounds ran."""
    settings = parse_settings(
        {
            "storage": {
                "data_dir": str(folder / "data"),
                "key_dir": str(folder / "keys"),
                "group_commit_ms": 0,
            },
            "personalization": {"device": "cpu"},
        }
    )
    async with open_house(
        settings, encoder=ENCODER, generator=_NoGenerator(), trainer_executor=executor
    ) as house:
        await teach(house)
        await house.trainer.warm_up()
        with measured() as lag:
            await rounds(house)
    print(
        f"held p99 {lag.held(99):.1f} ms, longest {max(lag.held_ms):.1f} ms of CPU;"
        f" late p99 {lag.late(99):.1f} ms, longest {max(lag.late_ms):.1f} ms; {len(lag.late_ms)} ticks"
    )
    return lag


class _NoGenerator:
    """Nothing is generated here."""

    name = "none"

    async def close(self) -> None:
        pass


async def test_rounds_without_a_pause_hold_the_loop_up_far_less_than_training_on_it(tmp_path):
    beside = await lag_of(tmp_path / "beside", None)
    if FULL:
        assert beside.late(99) < 20

    on_it = await lag_of(tmp_path / "on it", OnTheLoop())

    assert max(on_it.held_ms) > 4 * max(beside.held_ms)


async def test_control_training_on_the_loop_holds_it_up_as_long_as_a_solve_takes(tmp_path):
    on_it = await lag_of(tmp_path, OnTheLoop())

    solves = sorted(on_it.held_ms)[-N_ROUNDS:]
    assert min(solves) > 4 * on_it.held(50), "every round is seen as one long hold"
