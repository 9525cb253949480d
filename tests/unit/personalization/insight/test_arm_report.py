"""The lift of each kind: near the truth where a plain share of likes is far from it."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from bot.commands.report import as_text
from personalization.insight.arm_report import ArmLift, lifts_of
from personalization.insight.off_policy import Log
from personalization.insight.uplift_report import as_choices, report_of
from personalization.labels.labels import EmojiValence
from personalization.labels.plugged import Labeller
from personalization.settings import LearningSettings
from storage.records import MemberId, PastChoice, Seat

RATES = {"plain": 0.5, "poet": 0.3}
"""Like rates of the writers among members of middling contentment; the truth is a lift of -.2."""


def played(seed: int, *, n_members: int = 60, n_each: int = 40) -> tuple[Log, np.ndarray, list[Seat]]:
    """Contented members are dealt more of the poet, who is liked less than the plain writer by everybody."""
    rng = np.random.default_rng(seed)
    posted, member, liked, seats = [], [], [], []
    for m in range(n_members):
        contented = m % 2
        share = {"poet": 0.85 if contented else 0.15}
        share["plain"] = 1 - share["poet"]
        for _ in range(n_each):
            writer = "poet" if rng.random() < share["poet"] else "plain"
            chance = float(rng.choice([0.25, 0.75], p=[0.25, 0.75]))
            posted.append([chance, 1 - chance])
            member.append(m)
            liked.append(rng.random() < RATES[writer] + (0.2 if contented else -0.2))
            seats.append(Seat(0, "warm", writer, shares=(0.25, share[writer], 1.0, 1.0)))
    log = Log(np.array(posted), np.zeros(len(member), np.int64), np.array(member))
    return log, np.array(liked), seats


def lift_of(option: str, found: tuple[ArmLift, ...]) -> ArmLift:
    (one,) = [one for one in found if one.option == option]
    return one


def test_the_lift_is_near_the_truth_and_its_interval_holds_it():
    covered, values = 0, []
    for seed in range(20):
        poet = lift_of("poet", lifts_of(*played(seed)))
        values.append(poet.lift.value)
        covered += poet.lift.low <= -0.2 <= poet.lift.high

    assert np.mean(values) == pytest.approx(-0.2, abs=0.02)
    assert covered >= 17


def test_control_the_plain_share_of_likes_favours_the_worse_writer():
    _, liked, seats = played(0)
    poet = np.array([seat.writer == "poet" for seat in seats])

    assert liked[poet].mean() - liked[~poet].mean() > 0.03


def test_replies_without_a_choice_or_of_a_writer_that_took_over_are_left_out():
    log, liked, seats = played(1)
    others = [Seat(0, "warm", "poet"), None, Seat(0, "warm", "poet", shares=(1.0, 1.0, 1.0, 1.0))] * 50
    more = Log(
        np.concatenate([log.propensities, np.full((len(others), 2), 0.5)]),
        np.concatenate([log.chosen, np.zeros(len(others), np.int64)]),
        np.concatenate([log.member, np.zeros(len(others), np.int64)]),
    )

    found = lifts_of(more, np.concatenate([liked, np.ones(len(others), bool)]), [*seats, *others])

    assert found == lifts_of(log, liked, seats)


def test_wishes_are_one_kind_and_a_part_with_one_option_has_no_row():
    n = 40
    seats = [
        Seat(0, "warm", wish=("shorter", "no-emoji", "", "")[i % 4], shares=(1.0, 1.0, 0.5, 1.0))
        for i in range(n)
    ]
    log = Log(np.ones((n, 1)), np.zeros(n, np.int64), np.arange(n) // 4)

    (only,) = lifts_of(log, np.arange(n) % 4 < 2, seats)

    assert (only.part, only.option, only.n_replies) == ("wish", "learnt", n // 2)
    assert only.lift.value == pytest.approx(1.0)


def test_the_report_shows_the_kinds_and_survives_json():
    past = [
        PastChoice(
            member_id=MemberId(bytes([i % 10]) * 16),
            chosen=0,
            scores=(1.0, 0.0),
            prior_scores=(1.0, 0.0),
            propensities=(0.5, 0.5),
            policy="thompson",
            reactions=("👍",) if i % 3 else ("👎",),
            rating=None,
            seat=Seat(0, "warm", ("plain", "poet")[i % 2], shares=(1.0, 0.5, 1.0, 1.0)),
        )
        for i in range(60)
    ]
    report = report_of(as_choices(past, EmojiValence({}), Labeller(LearningSettings())))

    text = as_text(report, 90)

    assert "| writer plain | 30 |" in text
    assert "| writer poet | 30 |" in text
    assert [one["option"] for one in asdict(report)["arms"]] == ["plain", "poet"]
