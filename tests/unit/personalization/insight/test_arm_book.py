"""Counts of kinds: what counts, what many members share, and how far one of them reaches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from personalization.insight.arm_book import ArmBook, _Member, counts_of, options_of, pooled
from personalization.labels.labels import EmojiValence, label_of
from personalization.ranking.arms import Tally, shares
from personalization.ranking.dealing import EXAMPLES, STYLE, WISH, WRITER, Counts
from personalization.settings import LabelWeights
from personalization.sharing import Owner
from storage.records import FAQ_STYLE, UNKNOWN_STYLE, MemberId, PastChoice, Seat

LABELLING = partial(label_of, valence=EmojiValence({}), weights=LabelWeights())
ALICE = MemberId(b"a" * 16)


def past(
    seat: Seat | None, *reactions: str, style: str = "warm", rating: int | None = None, who: MemberId = ALICE
) -> PastChoice:
    return PastChoice(
        member_id=who,
        chosen=0,
        scores=(1.0,),
        prior_scores=(1.0,),
        propensities=(1.0,),
        policy="thompson",
        reactions=reactions,
        rating=rating,
        style=style,
        seat=seat,
        guild=b"guild",
        person=who,
    )


def likes_of(counts: Counts) -> dict[str, dict[str, tuple[float, float]]]:
    return {
        part: {option: (tally.liked, tally.disliked) for option, tally in of.items()}
        for part, of in counts.items()
    }


def crowd(n: int, counts: Counts, *, start: int = 0, server: bytes = b"") -> list[_Member]:
    return [_Member(Owner(b"person %d" % (start + i), server or b"server %d" % i), counts) for i in range(n)]


def test_thumbs_and_ratings_count_by_every_part_of_the_seat():
    seat = Seat(0, "warm", "small", "shorter", True)

    counts = counts_of([past(seat, "👍"), past(seat, rating=1), past(seat, "👍")], LABELLING)

    assert likes_of(counts) == {
        STYLE: {"warm": (2.0, 1.0)},
        WRITER: {"small": (2.0, 1.0)},
        WISH: {"shorter": (2.0, 1.0)},
        EXAMPLES: {"shown": (2.0, 1.0)},
    }


def test_an_emoji_of_unsure_meaning_counts_by_its_weight():
    counts = counts_of([past(Seat(0, "warm"), "❤")], LABELLING)

    assert 0.5 < counts[STYLE]["warm"].liked < 1


@pytest.mark.parametrize(
    "choice",
    [past(Seat(0, "warm")), past(None, "👍", style=FAQ_STYLE), past(None, "👍", style=UNKNOWN_STYLE)],
    ids=["no feedback", "an answer of a person", "a text found in Discord"],
)
def test_what_says_nothing_about_a_kind_does_not_count(choice):
    assert counts_of([choice], LABELLING) == {}


def test_of_a_reply_from_before_seats_the_style_alone_counts():
    assert options_of(past(None, "👍", style="playful")) == {STYLE: "playful"}


def test_too_few_members_share_nothing():
    counts = {STYLE: {"warm": Tally(4, 0), "concise": Tally(0, 4)}}

    assert pooled(crowd(4, counts), 5) == {}
    assert pooled(crowd(6, counts), 5)[STYLE]["warm"].liked > 0


def test_one_person_with_many_labels_moves_what_many_share_by_little():
    fair = {STYLE: {"warm": Tally(3, 3), "concise": Tally(3, 3)}}
    loud = {STYLE: {"warm": Tally(500, 0), "concise": Tally(0, 500)}}
    base = {"warm": 1.0, "concise": 1.0}

    before = shares(base, [pooled(crowd(20, fair), 5), {}])
    after = shares(base, [pooled([*crowd(20, fair), *crowd(1, loud, start=99)], 5), {}])

    assert abs(after["warm"] - before["warm"]) < 0.1


@pytest.mark.parametrize("part", [WRITER, WISH, EXAMPLES])
@pytest.mark.parametrize("seats", [True, False], ids=["new option", "replies from before seats"])
def test_one_person_speaks_for_no_option_of_any_part(part, seats):
    styles = {STYLE: {"warm": Tally(3, 3)}}
    fair = styles | ({part: {"": Tally(3, 3)}} if seats else {})
    loud = styles | {part: {"": Tally(3, 3), "rare": Tally(0, 12)}}

    alone = pooled([*crowd(200, fair), *crowd(1, loud, start=999)], 5)
    many = pooled([*crowd(200, fair), *crowd(12, loud, start=900)], 5)

    assert "rare" not in alone.get(part, {})
    assert "rare" in many[part]


def test_one_server_moves_what_all_share_by_little():
    fair = {STYLE: {"warm": Tally(3, 3), "concise": Tally(3, 3)}}
    loud = {STYLE: {"warm": Tally(6, 0), "concise": Tally(0, 6)}}
    honest = [one for s in range(6) for one in crowd(10, fair, start=100 * s, server=b"server %d" % s)]
    base = {"warm": 1.0, "concise": 1.0}

    after = shares(base, [pooled([*honest, *crowd(200, loud, start=9000, server=b"hostile")], 5), {}])

    assert after["warm"] < 0.85


def test_contented_members_do_not_speak_for_the_kinds_that_they_happen_to_get():
    contented = {WRITER: {"poet": Tally(18, 2), "plain": Tally(2, 0)}, STYLE: {"warm": Tally(20, 2)}}
    critical = {WRITER: {"poet": Tally(0, 2), "plain": Tally(4, 16)}, STYLE: {"warm": Tally(4, 18)}}

    writers = pooled([*crowd(10, contented), *crowd(10, critical, start=50)], 5)[WRITER]

    rates = {name: tally.liked / tally.n for name, tally in writers.items()}
    assert rates["poet"] < rates["plain"]  # each member likes the poet a little less than the plain writer


def test_the_order_of_members_has_no_effect_to_the_last_bit():
    members = [
        one
        for i in range(8)
        for one in crowd(1, {STYLE: {"warm": Tally(i / 7, 1), "concise": Tally(1, i / 3)}}, start=i)
    ]

    assert pooled(members, 5) == pooled(members[::-1], 5)


class Shelf:
    """Choices in memory, page by page."""

    def __init__(self, choices: Sequence[PastChoice]) -> None:
        self.choices = choices

    async def answered(self, limit, *, of=None, before=None):
        own = [one for one in self.choices if of in (None, one.member_id)]
        start = before or 0
        page = own[start : start + limit]
        return type("Page", (), {"choices": page, "last": start + limit if len(page) == limit else None})()


async def test_all_wishes_are_one_kind_in_what_the_member_sees_and_each_label_counts_once():
    choices = [
        past(Seat(0, "warm", wish="shorter"), "❤"),
        past(Seat(0, "warm", wish="no-emoji"), "👎"),
        past(Seat(0, "concise"), "👍"),
    ]

    async def labelling(guild):
        return LABELLING

    book = ArmBook(Shelf(choices), labelling, min_members=5)

    kinds = likes_of(await book.kinds(ALICE, b"guild"))

    assert kinds[WISH] == {"": (1.0, 0.0), "learnt": (1.0, 1.0)}
    assert kinds[STYLE] == {"warm": (1.0, 1.0), "concise": (1.0, 0.0)}
