"""Feedback rows become labelled examples, and examples become pages of bounded size."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from personalization.encoding.features import FeatureMap
from personalization.labels.labels import EmojiValence
from personalization.rounds import examples
from personalization.rounds.examples import Labelled, decode_feedback, examples_of, pages, read_labels
from personalization.settings import LabelWeights, LearningSettings
from storage.records import FeedbackRow, MemberId, Picked, PreferenceRow, ReplyId

ALICE, BOB = MemberId(b"a" * 16), MemberId(b"b" * 16)


SETTINGS = LearningSettings()


def read(features: FeatureMap, *members: list[FeedbackRow], settings=SETTINGS) -> list[Labelled]:
    """Labels of Alice and Bob, whose feedback rows are given in this order."""
    feedback = dict(zip((ALICE, BOB), members, strict=False))
    return read_labels(decode_feedback([ALICE, BOB], feedback, features), EmojiValence(), settings)


def row(features: FeatureMap, number: int, *reactions: str, rating: int | None = None) -> FeedbackRow:
    vector = np.full(features.dim, number, dtype="<f4").tobytes()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return FeedbackRow(ReplyId(number), reactions, rating, features.feature_id, vector, at)


def test_rows_become_features_values_and_weights(features) -> None:
    rows = [row(features, 1, "👍"), row(features, 2, "👎"), row(features, 3, rating=4)]

    alice, bob = read(features, rows)

    assert (alice.member_id, bob.member_id) == (ALICE, BOB)
    assert alice.X.tolist() == [[float(n)] * features.dim for n in (1, 2, 3)]
    assert (alice.y.tolist(), alice.weight.tolist()) == ([1.0, 0.0, 0.75], [1.0, 1.0, 2.0])
    assert (bob.X.shape, bob.y.shape, bob.weight.shape) == ((0, features.dim), (0,), (0,))
    assert {array.dtype for array in (alice.X, alice.y, alice.weight, bob.X)} == {np.dtype(np.float32)}


def test_rows_that_say_nothing_are_left_out(features) -> None:
    good = row(features, 1, "👍")
    useless = [
        row(features, 2),
        row(features, 3, "🪿"),
        good._replace(feature_id="of another encoder"),
        good._replace(features=good.features[:-4]),
        good._replace(features=b""),
        good._replace(features=np.full(features.dim, np.nan, "<f4").tobytes()),
    ]

    alice, _ = read(features, [useless[0], good, *useless[1:]])

    assert alice.X.tolist() == [[1.0] * features.dim]


def test_older_labels_of_a_member_weigh_less_by_their_last_change(features) -> None:
    old, new = row(features, 1, "👍"), row(features, 2, "👎")
    new = new._replace(changed_at=old.changed_at + timedelta(days=60))

    alice, bob = read(features, [old, new], [old], settings=LearningSettings(half_life_days=30.0))

    assert (alice.weight.tolist(), bob.weight.tolist()) == ([0.25, 1.0], [1.0])


def test_kinds_of_feedback_weigh_as_configured(features) -> None:
    weights = LabelWeights(rating=0.0, thumb=3.0)
    rows = [row(features, 1, "👍"), row(features, 2, rating=4)]

    alice, _ = read(features, rows, settings=LearningSettings(label_weights=weights))

    assert (alice.X[:, 0].tolist(), alice.weight.tolist()) == ([1.0], [3.0])


def test_a_members_emoji_are_read_by_their_own_thumbs(features) -> None:
    """💀 is alone on the third reply; elsewhere one member used it with 👍, the other with 👎."""
    up, down = (
        [row(features, n, "💀", thumb) for n in (1, 2)] + [row(features, 3, "💀")] for thumb in ("👍", "👎")
    )

    alice, bob = read(features, up, down)

    table = EmojiValence().valence("💀") / 2 + 0.5
    assert bob.y[2] < table < alice.y[2]
    assert alice.y[2] == pytest.approx((4 * table + 2) / 6)


def test_pages_are_bounded_when_padded_and_lose_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [1, 40, 2, 2, 39, 1, 7, 100]
    labelled = [
        Labelled(MemberId(bytes([i])), np.zeros((n, 10), np.float32), np.zeros(n), np.ones(n))
        for i, n in enumerate(sizes)
    ]
    monkeypatch.setattr(examples, "PAGE_BYTES", 80 * 10 * 4)

    found = [[len(member.y) for member in page] for page in pages(labelled)]

    assert found == [[100], [40, 39], [7, 2, 2, 1, 1]]
    assert list(pages([])) == []


def chose(
    features: FeatureMap, picked: Picked, first: int, second: int, *, posted: bool = False
) -> PreferenceRow:
    """A choice between two replies whose features are all ``first`` and all ``second``."""
    one, two = (np.full(features.dim, number, "<f4").tobytes() for number in (first, second))
    both = (ReplyId(first), ReplyId(second)) if posted else None
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return PreferenceRow(1, picked, both, features.feature_id, one, two, at, b"g" * 16)


def test_choices_between_two_replies_come_last_as_differences_and_are_marked(features) -> None:
    rows = [row(features, 1, "👍"), row(features, 2), row(features, 3, "👍"), row(features, 4, "👎")]
    chosen = [
        chose(features, Picked.FIRST, 5, 7),
        chose(features, Picked.SECOND, 5, 8),
        chose(features, Picked.EQUAL, 5, 9),
        chose(features, Picked.AGAIN, 2, 3, posted=True),  # liked, and the first one was not
        chose(features, Picked.AGAIN, 2, 4, posted=True),  # not liked: no label
        replace(chose(features, Picked.FIRST, 5, 7), feature_id="of another encoder"),
    ]

    alice, bob = read_labels(
        decode_feedback([ALICE, BOB], {ALICE: rows}, features, {ALICE: chosen, BOB: chosen[:1]}),
        EmojiValence(),
        SETTINGS,
    )
    padded = examples_of([alice, bob])

    assert alice.X[:, 0].tolist() == [1, 3, 4, 2, 3, 4, 1]
    assert alice.y.tolist() == [1, 1, 0, 0, 1, 0.5, 1]
    assert alice.weight.tolist() == [1.0] * 7
    assert (alice.n_pairs, bob.n_pairs, bob.guild) == (4, 1, b"g" * 16)
    assert padded.pairwise is not None
    assert padded.pairwise.tolist() == [[False] * 3 + [True] * 4, [True] + [False] * 6]
    assert examples_of(read(features, rows)).pairwise is None
