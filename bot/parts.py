"""The parts of a bot, as the composition passes them to the client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.background.uplift_reporter import Reporter
from bot.memory import MemberMemory
from bot.metrics import Metrics
from bot.replies.responder import Responder
from bot.servers.daily_limits import Limits
from bot.servers.server_settings import Guilds
from personalization.insight.arm_book import ArmBook
from personalization.insight.taste import TasteReader
from personalization.ranking.ranker import Ranker
from storage.maintenance.audit_trail import AuditTrail
from storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a bot.

    Attributes:
        store: Consent, impressions, feedback.
        audit: Records administrative acts.
        responder: Decides replies.
        ranker: Orders candidates.
        memory: Everything in memory that holds data of members.
        taste: Reads what a member's labels say, for showing it to them.
        arms: Counts which kinds of candidates are liked.
        labels_changed: Called with the number of members whose labels changed.
        metrics: Counts what happens.
        reporter: Estimates what personalization brings.
        servers: Settings of servers.
        limits: Counts what members and servers used of their day.
        member_left: Called when a member was forgotten: schedules retraining of what they contributed to.
        reads_pictures: Whether the language model reads pictures.
        generator_name: Names the language model.
        encoder_name: Names the encoder.
    """

    store: Store
    audit: AuditTrail
    responder: Responder
    ranker: Ranker
    memory: MemberMemory
    taste: TasteReader
    arms: ArmBook
    labels_changed: Callable[[int], None]
    metrics: Metrics
    reporter: Reporter
    servers: Guilds
    limits: Limits
    member_left: Callable[[], None]
    reads_pictures: bool
    generator_name: str
    encoder_name: str
