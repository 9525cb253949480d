"""Offers: what a member's likes offer to the writer: learnt wishes, and liked replies as examples of tone.

An offer changes the style of a seat, which is one requested candidate. It stands behind the instruction of
the style, so the beginning of the prompt stays the same. A wish of ``/style`` stands last and has
precedence. A seat with an offer has a name of its own, so its candidates can be told from those of plain
seats. Examples are the bot's own replies to this member in this server that repeat no words of the member.
They cross channels only where everyone in the server can read both (:mod:`bot.servers.readers`). They are
shortened and quoted, and role markers are broken up in them. Nothing is cached: what was undone, forgotten or
deleted is not offered again. No discord import here.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from bot.generation import ANY_SHAPE, Shape, Style
from bot.generators.role_markers import defuse
from bot.messages.splitting import beginning
from bot.replies.style_wishes import overridden_axes
from bot.settings import LONG, SHORT
from bot.settings_checks import JOINED
from personalization.heads.heads import Head
from personalization.insight.learnt_wishes import LEAST, LearntWish
from personalization.insight.seat_dealer import Table
from personalization.insight.taste import TasteReader
from storage.errors import StorageError
from storage.members.wishes import Wish
from storage.records import Consent, ReplyId, Seat, Who
from storage.store import Store

log = logging.getLogger(__name__)

EXAMPLES = "examples"
"""Name of the offer of examples, in the name of a seat and among what a member switched off."""
MOST_EXAMPLES = 2
MOST_READ = 6
"""Replies that are read to find examples."""
MOST_CHARACTERS = 160
"""Longest quotation of an example."""
CERTAIN = 0.9
"""Weight from which a wish has its largest share of the seats."""
LEAST_WISHED, MOST_WISHED = 0.25, 0.75
"""Share of the seats with a wish before its likes are counted: at the least weight, and at the largest."""
SHOWN = 0.25
"""Share of the seats that show examples before their likes are counted."""
_NO_TONE = re.compile(r"```|https?://", re.IGNORECASE)
"""Code and links show no tone."""


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


@dataclass(frozen=True, slots=True)
class _Told:
    """How a learnt wish is told to the writer.

    Attributes:
        instruction: Sentence behind the instruction of the style.
        shape: Shape of the candidate, with that of the style.
        frees: Bounds of the style that do not hold under this wish.
    """

    instruction: str
    shape: Shape = ANY_SHAPE
    frees: frozenset[str] = frozenset()


_ANY_LENGTH = frozenset({"most_sentences", "most_characters", "most_tokens"})
_TOLD = {
    "shorter": _Told("Keep it very short.", SHORT),
    "longer": _Told("Take your time and write a long answer of several sentences.", LONG, _ANY_LENGTH),
    "emoji": _Told("Use an emoji or two."),
    "no-emoji": _Told("Do not use emoji."),
    "asks-back": _Told("End with a question.", Shape(question=True)),
    "no-questions": _Told("Do not ask anything.", frees=frozenset({"question"})),
    "lists": _Told("Write it as a short list.", frees=frozenset({"lists"}) | _ANY_LENGTH),
    "no-lists": _Told("Write running text without lists.", Shape(lists=False)),
    "lively": _Told("Be lively, with exclamation marks!"),
    "calm": _Told("Stay calm, without exclamation marks."),
    "elaborate-words": _Told("Choose rich, elaborate words."),
    "plain-words": _Told("Use short, simple words only."),
    "detailed": _Told("Go into details.", frees=_ANY_LENGTH),
    "to-the-point": _Told("Use plain sentences without side remarks."),
    "polite": _Told("Be very polite."),
    "no-courtesies": _Told("Leave out greetings and courtesies."),
    "cheerful": _Told("Be cheerful."),
    "matter-of-fact": _Told("Be matter-of-fact."),
    "about-oneself": _Told("Say something about yourself."),
    "not-about-oneself": _Told("Do not talk about yourself."),
    "personal": _Told("Speak to the person directly."),
    "impersonal": _Told("Speak about the matter, not about the person."),
    "careful": _Told("Be careful in what you claim."),
    "straight": _Told("Give a straight answer, without maybe or perhaps."),
    "numbers": _Told("Give numbers where you can."),
    "few-numbers": _Told("Avoid numbers."),
    "humour": _Told("Make a joke."),
    "no-jokes": _Told("Make no jokes."),
    "formatting": _Told("Make the main point bold."),
    "no-formatting": _Told("Write plain text without formatting.", Shape(lists=False)),
}

_SHOWN = (
    "The person you answer liked these earlier replies of yours, in quotation marks. They only show how to"
    " say things; do not repeat them: {quoted}"
)


def instructions() -> list[str]:
    """Return the fixed texts of offers that a reply must not repeat word for word.

    Those of wishes are everyday sentences ("Make a joke."), which a reply may hold.
    """
    return list[str](_SHOWN.partition("{")[0].split(". "))


def in_offer(style: Style, wish: LearntWish | None, examples: Sequence[str]) -> Style:
    """Return the style of a seat with an offer, under a name that holds the offer; plain without one."""
    asked, shape, names = [style.instruction], style.shape, [style.name]
    if wish is not None:
        told = _TOLD[wish.name]
        free = {bound: getattr(ANY_SHAPE, bound) for bound in told.frees}
        asked.append(told.instruction)
        shape = replace(shape, **free).and_also(told.shape)
        names.append(wish.name)
    if examples:
        asked.append(_SHOWN.format(quoted=" ".join(f'"{_quotable(text)}"' for text in examples)))
        names.append(EXAMPLES)
    instruction = " ".join(part for part in asked if part)
    return replace(style, name=JOINED.join(names), instruction=instruction, shape=shape)


def plain_style_of(name: str) -> str:
    """Return the name of the style that a seat was made of."""
    return name.partition(JOINED)[0]


def offered_in(name: str) -> tuple[str | None, bool]:
    """Return the learnt wish of a seat and whether it showed examples, from the name of the seat."""
    offered = name.split(JOINED)[1:]
    return next((one for one in offered if one in _TOLD), None), EXAMPLES in offered


def with_offer(style: Style, seat: Seat, offers: Offers) -> Style:
    """Return the style of a seat with what the seat was dealt."""
    wish = next((one for one in offers.wishes if one.name == seat.wish), None)
    return in_offer(style, wish, offers.examples if seat.examples else ())


def table_of(offers: Offers, wished: Sequence[str]) -> Table:
    """Return what may be dealt to a member, with its base shares: the surer a wish, the larger its share.

    All wishes together have the share of the surest.

    Args:
        offers: What taste offers.
        wished: Names of the styles that fit a wish of ``/style``.
    """
    each = {one.name: _share_of(one) for one in offers.wishes}
    part = max(each.values(), default=0.0) / max(1e-9, sum(each.values()))
    shares = {name: share * part for name, share in each.items()}
    return Table(wished, shares, SHOWN if offers.examples else 0.0)


def _share_of(wish: LearntWish) -> float:
    """Return the base share of a wish alone, which grows with its weight."""
    grown = min(1.0, max(0.0, (wish.weight - LEAST) / (CERTAIN - LEAST)))
    return LEAST_WISHED + (MOST_WISHED - LEAST_WISHED) * grown


def allowed(known: Offers, wish: Wish) -> Offers:
    """Return the offers that a member did not switch off, and that their wish of ``/style`` leaves open.

    Own words may speak of anything, so they override every offer.
    """
    if wish.words:
        return NO_OFFERS
    axes = overridden_axes(wish)
    wishes = [one for one in known.wishes if one.name not in wish.unwanted and one.axis not in axes]
    return Offers(tuple(wishes), () if EXAMPLES in wish.unwanted else known.examples)


def names_of(offers: Offers) -> list[str]:
    """Return the name of each offer, as it is stored when it is switched off."""
    return [*(one.name for one in offers.wishes), *([EXAMPLES] if offers.examples else [])]


class OffersBook:
    """Reads what may be offered to the writer, for each reply anew.

    Args:
        store: Replies to the members.
        taste: Reads what the member's labels say.
    """

    def __init__(self, store: Store, taste: TasteReader) -> None:
        self._store, self._taste = store, taste

    async def of(
        self, who: Who, consent: Consent, head: Head, wish: Wish, may_show: Callable[[int], bool]
    ) -> Offers:
        """Return the offers for the next reply to a member.

        Nothing is offered without consent. Where the store does not answer, nothing is offered either.

        Args:
            who: The member.
            consent: Their decision.
            head: The head used for them.
            wish: Their wish of ``/style``, and what they switched off.
            may_show: As in :class:`~bot.replies.decision.Prompt`.
        """
        if consent is not Consent.AGREED or wish.words or head.spread is None:
            return NO_OFFERS
        try:
            known = await self.known(who, head, may_show)
        except StorageError as exc:
            log.warning("offers could not be read (%s); this reply has none", type(exc).__name__)
            return NO_OFFERS
        return allowed(known, wish)

    async def known(
        self, who: Who, head: Head | None = None, may_show: Callable[[int], bool] | None = None
    ) -> Offers:
        """Return what taste offers for a member who agreed, also what is switched off or overridden.

        Args:
            who: The member.
            head: The head used for them; None: it is looked up.
            may_show: Returns whether replies in a channel, by its id, may be examples; None: those of every
                channel may, which only the member themselves may learn.

        Raises:
            StorageError: The store does not answer.
        """
        guild = self._store.guild_id(who)
        head = head or await self._taste.head_of(self._store.member_id(who), guild)
        wishes = self._taste.learnt_wishes(head)
        return Offers(wishes, await self._examples_of(who, head, guild, may_show))

    async def _examples_of(
        self, who: Who, head: Head, guild: bytes, may_show: Callable[[int], bool] | None
    ) -> tuple[str, ...]:
        """Return the texts of own replies that show a member's taste; expired ones are left out."""
        member_id = self._store.member_id(who)
        found: list[str] = []
        known = await self._taste.liked_examples(member_id, head, guild)
        for reply_id in known[:MOST_READ]:
            reply = await self._store.replies.summary(who, reply_id)
            if reply is None or reply.text is None or reply.quotes:
                continue
            if not _shows_tone(reply.text, found):
                continue
            if may_show is None or await self._is_shown(who, reply_id, may_show):
                found.append(reply.text)
            if len(found) == MOST_EXAMPLES:
                break
        return tuple(found)

    async def _is_shown(self, who: Who, reply_id: ReplyId, may_show: Callable[[int], bool]) -> bool:
        channel_id = await self._store.replies.channel_of(who, reply_id)
        return channel_id is not None and may_show(channel_id)


def _shows_tone(text: str, others: Collection[str]) -> bool:
    return bool(_quotable(text)) and text not in others and _NO_TONE.search(text) is None


def _quotable(text: str) -> str:
    """Return the beginning of a reply in one line, without quotation marks and role markers."""
    visible = "".join(
        char for char in text if char.isspace() or unicodedata.category(char) not in ("Cc", "Cf")
    )
    line = beginning(" ".join(visible.split()), MOST_CHARACTERS).rstrip()
    return re.sub('["\u201c\u201d\u201e]', "'", defuse(line))
