"""P5: a member cannot solve for the prior, and so for another member, from their own data.

A victim joins a crowd and teaches the prior. One more account asks, exports its own data and solves for the
prior from the choices stored there, while the victim is there and after they forgot. The attacker's estimate
ranks the victim's clicks no better than it would had the victim never been there. Accounts of one label each
beside a victim of many find no prior at all: the effective number of persons is too small.

Controls: if choices are stored as they are made, with exact scores, the attacker does better than chance.
If the rule of the effective number is off as well, the attacker tells for certain who was there.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from bot.replies.decision import impression_of
from personalization import sharing
from personalization.encoding.features import FeatureMap
from storage.learning import past_choices
from storage.privacy import erasing, export
from storage.records import Place, Who
from storage.replies import impressions
from storage.store import Store
from tests.fakes import FixedClock, HashEncoder
from tests.rig.adopting import adopt_everything
from tests.rig.membership import Clicks, auc, drawn, joins
from tests.rig.size import sized
from tests.rig.solving_back import solved_head, told
from tests.unit.personalization.bench import SETTINGS, Bench
from tests.unit.storage.given import settings_in

pytestmark = [
    pytest.mark.promise("P5"),
    pytest.mark.slow,
    pytest.mark.timeout(sized(ci=300, full=3600)),
]

MEMBERS = 8
CROWD = [Who(3, 1000 + person) for person in range(MEMBERS + 2)]
SPY, GONE = Who(3, 1900), Who(3, 1901)
VICTIMS = [Who(3, 2000 + person) for person in range(sized(ci=8, full=100))]
FEW = VICTIMS[: sized(ci=4, full=100)]
N_LABELS, N_ASKED = 20, 50
BOUND = sized(ci=0.15, full=0.05)
"""How far the AUC may be from .5. Its standard error is .15 for 8 victims and .04 for 100.

A prior that a victim taught posts some other replies, so both differ: .36 with 8 victims, .48 with 100.
"""
RULES = replace(SETTINGS, prior_min_members=MEMBERS, policy="thompson", relevance_weight=0.0)


@pytest.fixture
async def bench(tmp_path, monkeypatch):
    adopt_everything(monkeypatch)
    clock = FixedClock()
    with ThreadPoolExecutor(1) as executor:
        async with await Store.open(settings_in(tmp_path, group_commit_ms=0), now=clock) as store:
            bench = Bench(store, FeatureMap(HashEncoder(8)), executor, clock)
            bench.trainer._settings = RULES
            bench.ranker.use_settings(RULES)
            yield bench
            await bench.trainer.close()
            bench.ranker.close()


async def crowd(bench: Bench, n: int, n_labels: int) -> None:
    rng = np.random.default_rng(1)
    for who in CROWD[:n]:
        await joins(bench, drawn(rng, bench, who, n_labels))


async def asked(bench: Bench) -> None:
    """Ask as the spy, in the same words at each visit."""
    await bench.store.consent.record(SPY)
    rng = np.random.default_rng(3)
    bench.ranker._rng = np.random.default_rng(4)
    for _ in range(N_ASKED):
        texts = tuple(f"answer {rng.integers(10**12)}" for _ in range(4))
        ranking = await bench.ranker.rank(bench.store.member_id(SPY), "", texts)
        bench.n_messages += 1
        impression = impression_of(texts, ("plain",) * 4, ranking)
        await bench.store.replies.record(SPY, Place(1, (bench.n_messages,)), impression)


async def solved(bench: Bench) -> np.ndarray:
    """Export the spy's data, and solve for the prior from the replies of the last visit."""
    ((_, found), *_) = await bench.store.privacy.export(SPY)
    return solved_head(found["replies"][-N_ASKED:], bench.features, RULES.personal_bound)


async def visits(bench: Bench, victims: Sequence[Who] = VICTIMS) -> dict[str, float]:
    """Attack each victim; the AUC of exports made while the victim is present, and after they forgot.

    Both are compared with the spy's export from a visit before any victim came, followed by an erasure.
    """
    rng = np.random.default_rng(2)
    await bench.store.consent.record(GONE)
    await bench.trainer.rebuild_prior()
    await asked(bench)
    never = {"present": await solved(bench)}
    await bench.store.privacy.forget(GONE.user_id)
    never["forgotten"] = await solved(bench)
    found: dict[str, tuple[list[float], list[float]]] = {when: ([], []) for when in never}
    for who in victims:
        clicks: Clicks = drawn(rng, bench, who, N_LABELS)
        X = bench.features.features(clicks.texts)
        await joins(bench, clicks)
        await bench.trainer.rebuild_prior()
        await asked(bench)
        there = {"present": await solved(bench)}
        await bench.store.privacy.forget(who.user_id)
        there["forgotten"] = await solved(bench)
        for when, (with_them, without) in found.items():
            with_them.append(told(there[when], X, clicks.liked, bench.features))
            without.append(told(never[when], X, clicks.liked, bench.features))
    return {when: auc(*both) for when, both in found.items()}


async def test_the_prior_cannot_be_solved_for_from_ones_own_data(bench):
    await crowd(bench, len(CROWD), N_LABELS)

    found = await visits(bench)
    assert abs(found["forgotten"] - 0.5) <= BOUND
    assert abs(found["present"] - 0.5) <= BOUND


def stored_exactly(monkeypatch) -> None:
    """Store and export choices as they are made, and keep them over a forget."""
    for module in (impressions, past_choices):
        monkeypatch.setattr(module, "coarse", lambda decision: decision)
    monkeypatch.setattr(export, "exported", lambda decision: decision)
    monkeypatch.setattr(export, "_posted_only", lambda texts, _decision: texts)
    monkeypatch.setattr(erasing, "blank_stored", lambda *_, **__: False)


async def test_control_exact_scores_tell_who_was_there(bench, monkeypatch):
    stored_exactly(monkeypatch)
    await crowd(bench, len(CROWD), N_LABELS)

    found = await visits(bench)
    assert min(found.values()) > 0.5 + BOUND


async def test_control_without_any_rule_accounts_of_one_label_show_the_victim_for_certain(bench, monkeypatch):
    stored_exactly(monkeypatch)
    monkeypatch.setattr(sharing, "effective", lambda _weights: float("inf"))
    monkeypatch.setattr(sharing, "PERSON_SHARE", float("inf"))
    await crowd(bench, MEMBERS - 1, 1)

    found = await visits(bench, FEW)
    assert min(found.values()) >= 0.95


async def test_accounts_of_one_label_show_no_victim(bench):
    await crowd(bench, MEMBERS - 1, 1)

    found = await visits(bench, FEW)
    assert found == {"present": 0.5, "forgotten": 0.5}


async def test_accounts_of_one_label_teach_no_prior_beside_a_victim(bench):
    await crowd(bench, MEMBERS - 1, 1)
    await joins(bench, drawn(np.random.default_rng(2), bench, VICTIMS[0], N_LABELS))

    report = await bench.trainer.rebuild_prior()

    assert (report.n_members, report.prior_id) == (0, bench.trainer._prior.starter.prior_id)


async def test_exact_choices_of_an_older_version_are_gone_after_a_forget(bench, monkeypatch):
    monkeypatch.setattr(impressions, "coarse", lambda decision: decision)
    monkeypatch.setattr(export, "exported", lambda decision: decision)  # what the rows hold
    monkeypatch.setattr(export, "_posted_only", lambda texts, _decision: texts)
    await crowd(bench, 2, 1)
    await asked(bench)
    await bench.store.privacy.forget(CROWD[0].user_id)

    ((_, found), *_) = await bench.store.privacy.export(SPY)

    assert len(found["replies"]) == N_ASKED
    for row in found["replies"]:
        decision = row["decision"]
        assert set(decision["scores"]) | set(decision["prior_scores"]) <= {0.0, 1.0}
        assert decision["reason"]["parts"] == []
        assert [bool(text) for text in row["texts"]].count(True) == 1
