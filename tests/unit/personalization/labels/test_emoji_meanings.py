"""Meanings of emoji: learnt from surer signs on the same reply, equal to the table without any."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.labels.emoji_meanings import ANY, Use, learn_meanings, own_meanings, uses_of
from personalization.labels.labels import EmojiValence, Meaning

TABLE = EmojiValence()
SKULL, PEPE = "💀", ":4242"


def signs(rng: np.random.Generator, likes: bool, n: int = 8, *, p: float = 0.95):
    """A member who gives thumbs to half good, half bad replies, and 💀 to those they like (or dislike)."""
    feedback = []
    for liked in np.arange(n) % 2 == 0:
        thumb = "👍" if liked else "👎"
        uses = (rng.random() < p) == (liked == likes)
        feedback.append(((thumb, SKULL) if uses else (thumb,), None))
    return feedback


def population(n: int = 60, seed: int = 0):
    """Members of whom half use 💀 for liking and half for disliking."""
    rng = np.random.default_rng(seed)
    return [signs(rng, bool(u % 2)) for u in range(n)]


def learnt(members, *, min_members: int = 20, valence: EmojiValence = TABLE) -> dict[str, Meaning]:
    return learn_meanings(
        [uses_of(feedback, valence) for feedback in members], valence, min_members=min_members
    )


def loss(valence: EmojiValence, likes: bool) -> float:
    """Log loss of the thumb that goes with a member's 💀; without a meaning the probability is one half."""
    reading = valence.reading_of(SKULL)
    share = 0.5 if reading is None else (reading.value + 1) / 2
    return -float(np.log(share if likes else 1 - share))


def test_learnt_meaning_predicts_held_out_thumbs_better_than_the_table() -> None:
    """Learnt from some members; for others, their first replies show what 💀 means to them."""
    rng = np.random.default_rng(1)
    shared = TABLE.learnt(learnt(population()))
    losses = {"table": [], "population": [], "member": []}
    for u in range(60):
        likes = bool(u % 2)
        own = shared.learnt(own_meanings(signs(rng, likes), shared))
        for name, valence in (("table", TABLE), ("population", shared), ("member", own)):
            losses[name].append(loss(valence, likes))

    table, population_wide, member = (float(np.mean(found)) for found in losses.values())

    assert population_wide < table - 0.05
    assert member < 0.6 * table


def test_a_population_that_disagrees_is_known_to_disagree() -> None:
    rng = np.random.default_rng(2)
    divided = learnt(population())[SKULL]
    united = learnt([signs(rng, True) for _ in range(60)])[SKULL]

    assert abs(divided.value) < 0.2
    assert divided.agreement < 2 < united.agreement
    assert united.value > 0.8
    assert united.trust > 0.6 > divided.trust


def test_without_surer_signs_every_emoji_means_what_the_table_says() -> None:
    lonely = [[((SKULL,), None), (("😂", "🔥"), None), (("👍",), None), ((), 5)] for _ in range(60)]
    meanings = learnt(lonely)

    assert meanings == {}
    assert own_meanings(lonely[0], TABLE) == {}
    assert TABLE.learnt(meanings) is TABLE


def test_an_emoji_of_too_few_members_is_not_learnt() -> None:
    assert learnt(population(19)) == {}
    assert set(learnt(population(20))) == {SKULL}


def test_one_member_cannot_shout() -> None:
    """A thousand uses by one member count as three."""
    quiet = population()
    loud = [*quiet[:-1], [((SKULL, "👍"), None)] * 1000]
    modest = [*quiet[:-1], [((SKULL, "👍"), None)] * 3]

    def moved(members) -> float:
        return abs(learnt(members)[SKULL].value - learnt(quiet)[SKULL].value)

    assert moved(loud) == pytest.approx(moved(modest), abs=0.02)
    assert moved(loud) < 0.1


def test_order_of_members_has_no_effect() -> None:
    assert learnt(population()) == learnt(population()[::-1])


def test_a_custom_emoji_starts_unknown_and_is_learnt() -> None:
    fans = [[((PEPE, "👍"), None), ((PEPE,), 5), (("👎",), None)] for _ in range(40)]
    sceptics = [[((PEPE, "👎"), None), ((PEPE,), 1), (("👍",), None)] for _ in range(40)]

    liked, disliked = (TABLE.learnt(learnt(members)).reading_of(PEPE) for members in (fans, sceptics))

    assert TABLE.reading_of(PEPE) is None
    assert liked is not None and disliked is not None
    assert liked.value > 0.7 and liked.trust > 0.4
    assert disliked.value < -0.7 and disliked.trust > 0.4


def test_a_member_alone_can_teach_a_custom_emoji() -> None:
    own = TABLE.learnt(own_meanings([((PEPE, "👍"), None)] * 3 + [(("👎",), None)] * 3, TABLE))

    reading = own.reading_of(PEPE)

    assert reading is not None
    assert reading.value == pytest.approx(3 / 7)
    assert 0.1 < reading.trust < 0.3


def test_an_emoji_that_goes_with_everything_says_nothing() -> None:
    """A member who puts it on every reply, liked or not, gives no information."""
    everything = [[((PEPE, thumb), None) for thumb in ("👍", "👍", "👍", "👎")] for _ in range(60)]

    shared = TABLE.learnt(learnt(everything))

    assert shared.meaning_of(PEPE).value > 0.3
    assert shared.reading_of(PEPE) is None


def test_thumbs_and_configured_emoji_are_never_learnt() -> None:
    configured = EmojiValence({"kappa:4242": -1.0})
    members = [[((PEPE, "👍", "🔥"), 5), (("👎", PEPE), 5)] for _ in range(60)]
    claimed = {"👍": Meaning(-1.0, 1.0, 1.0), PEPE: Meaning(1.0, 1.0, 1.0)}

    assert set(learnt(members, valence=configured)) == {"🔥"}
    assert set(own_meanings(members[0], configured)) == {"🔥"}
    with_claims = configured.learnt(claimed)
    assert [with_claims.valence(emoji) for emoji in ("👍", PEPE)] == [1.0, -1.0]


def test_own_meaning_moves_by_as_much_as_others_disagree() -> None:
    """Three uses with 👎 flip a disputed meaning, and hardly change one that all agree on."""
    feedback = [((SKULL, "👎"), None)] * 3
    disputed = TABLE.learnt({SKULL: Meaning(0.0, 0.1, 0.5)})
    agreed = TABLE.learnt({SKULL: Meaning(0.9, 0.7, 32.0)})

    assert own_meanings(feedback, disputed)[SKULL].value == pytest.approx(-6 / 7)
    assert own_meanings(feedback, agreed)[SKULL].value == pytest.approx(2 * (32 * 0.95) / 35 - 1)


def test_replies_without_a_surer_sign_are_weak_evidence() -> None:
    """They show the meaning of an unknown emoji, and hardly move one known from surer signs."""
    rng = np.random.default_rng(4)

    def learnt_of(n_sure: int, mean: float) -> Meaning:
        """A head of d' = 0.4, as on real judges; ``mean`` of its odds is 0.08 on liked replies."""
        members = [{PEPE: Use(0.0, n_sure, list(rng.normal(mean, 0.4, 4)))} for _ in range(200)]
        return learn_meanings(members, TABLE, min_members=20)[PEPE]

    assert learnt_of(0, 0.08).value > 0.4
    assert learnt_of(0, -0.08).value < -0.4
    assert learnt_of(1, 0.08).value < -0.8
    assert learnt_of(1, 2.0).value < -0.8  # a topic that all like is no more evidence


def test_uses_are_counted_reply_by_reply() -> None:
    feedback = [(("💀", "👍"), None), (("💀🏽", "💀"), 2), (("💀",), None), (("👍", "👎"), None), ((), None)]

    uses = uses_of(feedback, TABLE, [0.1, 0.2, 0.3, 0.4, 0.5])

    assert {key: (use.likes, use.n_sure, use.odds) for key, use in uses.items()} == {
        SKULL: (1.25, 2, [0.3]),
        ANY: (1.75, 3, []),
    }
