"""Offers: what a member's likes offer to the writer: learnt wishes and liked replies as examples of tone.

An offer changes the style of a seat, which is one requested candidate. A seat with an offer has a name of its
own (:func:`bot.replies.offers.in_offer`), so its candidates and likes can be told from those of plain seats.
No discord import here.
"""

from __future__ import annotations

from dataclasses import dataclass

from personalization.insight.learnt_wishes import LearntWish


@dataclass(frozen=True, slots=True)
class Offers:
    """What may be offered to the writer of a reply to one member.

    Attributes:
        wishes: Learnt wishes, the surest first. Those that the member switched off or that a wish of
            ``/style`` overrides are left out.
        examples: Texts of the bot's own replies that the member liked, at most two; quoted as data.
    """

    wishes: tuple[LearntWish, ...] = ()
    examples: tuple[str, ...] = ()


NO_OFFERS = Offers()
