"""Narrow protocols of the bot for buttons, panels and forms, so that none imports the client.

discord.py hands every button ``interaction.client``; a panel takes it as one of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from bot.command_tree import Host
from bot.distress.answers import HelpAnswers
from bot.messages.streaming import Streams
from bot.privacy import Privacy
from bot.replies.decision import Decision
from bot.replies.offers import OffersBook
from bot.replies.style_wishes import WishBook
from personalization.insight.arm_book import ArmBook
from personalization.insight.taste import TasteReader
from storage.members.consent import Consents
from storage.records import MemberId
from storage.store import Store

__all__ = [
    "FeedbackHost",
    "HelpHost",
    "Host",
    "PrivacyHost",
    "StreamHost",
    "StyleHost",
]


class PrivacyHost(Protocol):
    """The parts of the bot that the privacy page needs."""

    @property
    def privacy(self) -> Privacy:
        """Consent and forgetting."""
        ...


class Heads(Protocol):
    """The heads in memory."""

    def drop(self, members: Iterable[MemberId]) -> None:
        """Drop the heads of these members immediately."""
        ...


class Offering(Protocol):
    """The part of the responder that the feedback panel needs."""

    @property
    def wishes(self) -> WishBook:
        """Wishes of members, and what they switched off."""
        ...

    @property
    def offers(self) -> OffersBook:
        """What taste offers to the writer."""
        ...


class FeedbackHost(Protocol):
    """The parts of the bot that the feedback panel needs."""

    @property
    def responder(self) -> Offering:
        """What taste changes in replies."""
        ...

    @property
    def store(self) -> Store:
        """Feedback, replies, choices and remarks."""
        ...

    @property
    def ranker(self) -> Heads:
        """Drops a head that starts over."""
        ...

    @property
    def taste(self) -> TasteReader:
        """Reads what the member's labels say."""
        ...

    @property
    def arms(self) -> ArmBook:
        """Counts which kinds of replies the member liked."""
        ...

    def labels_changed(self, count: int, /) -> None:
        """Count members whose labels changed."""
        ...


class ConsentStore(Protocol):
    """The part of the store that the style page needs."""

    @property
    def consent(self) -> Consents:
        """Decisions of members."""
        ...


class Wishing(Protocol):
    """The part of the responder that the style page needs."""

    @property
    def wishes(self) -> WishBook:
        """Wishes of members."""
        ...


class StyleHost(Protocol):
    """The parts of the bot that the style page needs."""

    @property
    def store(self) -> ConsentStore:
        """Decisions of members."""
        ...

    @property
    def responder(self) -> Wishing:
        """Wishes of members."""
        ...


class Helps(Protocol):
    """The part of the responder that recognises distress."""

    @property
    def help(self) -> HelpAnswers:
        """The answers to a text that speaks of self-harm or danger."""
        ...


class HelpHost(Protocol):
    """The part of the bot that a form with own words needs."""

    @property
    def responder(self) -> Helps:
        """Recognises distress."""
        ...


class Finishing(Protocol):
    """The part of the responder that a growing reply needs."""

    async def finished(self, decision: Decision, text: str) -> Decision:
        """Return the decision with the final text."""
        ...


class Paused(Protocol):
    """The part of the emergency stop that a growing reply needs."""

    async def is_paused(self) -> bool:
        """Return whether nothing may be posted."""
        ...


class StreamHost(Protocol):
    """The parts of the bot that a growing reply needs."""

    @property
    def streams(self) -> Streams:
        """The replies that grow now."""
        ...

    @property
    def pausing(self) -> Paused:
        """The emergency stop."""
        ...

    @property
    def responder(self) -> Finishing:
        """Describes the finished text."""
        ...
