"""Model of the soak: the reactions in the simulated Discord, and what must therefore be stored.

The model is saved together with the simulated Discord after every burst, when no step is in progress. The
child reports every step (:class:`Step`) before it takes it. So after a kill the database must match the model
exactly, except for the steps in progress.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from storage.records import Who
from storage.store import Store
from tests.rig.canary import Canaries
from tests.rig.standing import standing_in, stored_key

SAID = "Kirschmarmelade-vom-Sonntag"
"""Occurs in every message of a member."""
CANDIDATES = (
    "Wacholderbeeren!",
    "Wacholderbeeren wachsen langsam, und man braucht Geduld mit ihnen.",
    "Warum nicht Wacholderbeeren?",
    "Wacholderbeeren :) und dazu Tee...",
)
NAMES = "Schneewittchen"
"""Occurs in every member's name."""


class Given(NamedTuple):
    """A reaction that Discord shows."""

    user_id: int
    message_id: int
    emoji: str


class Step(NamedTuple):
    """A step about to be taken, with its member, message and emoji; 0 or empty: none."""

    what: str
    user_id: int = 0
    message_id: int = 0
    emoji: str = ""


class Faulty(NamedTuple):
    """Differences found: ``lost`` reactions are not stored but should be, ``extra`` ones the reverse."""

    lost: list[Given]
    extra: list[Given]


@dataclass
class Model:
    """State of the simulated Discord.

    Attributes:
        replies: Message of a stored reply -> the member who asked for it.
        since: Member who agreed -> the newest reply at that time. What a member does on older replies while
            the bot is offline is not read back, because it may have been done before they agreed.
        given: The reactions of members on the bot's messages.
    """

    guild_id: int = 0
    channels: list[int] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    since: dict[int, int] = field(default_factory=dict)
    replies: dict[int, int] = field(default_factory=dict)
    given: set[Given] = field(default_factory=set)
    n_events: int = 0

    def who(self, user_id: int) -> Who:
        """Return the member in this server."""
        return Who(self.guild_id, user_id)

    @property
    def agreed(self) -> set[int]:
        """Members who agreed."""
        return set(self.since)

    def must_be_stored(self) -> set[Given]:
        """Reactions by members who agreed, on replies to members who agreed."""
        return {one for one in self.given if one.user_id in self.agreed and one.message_id in self.replies}

    def touched(self, one: Given, under_way: Iterable[Step]) -> bool:
        """Return whether an unfinished step may have changed this reaction."""
        return any(
            one == (step.user_id, step.message_id, step.emoji)
            or (step.what == "delete" and step.message_id == one.message_id)
            or (
                step.what in ("leave", "agree")
                and step.user_id in (one.user_id, self.replies.get(one.message_id))
            )
            for step in under_way
        )

    async def compare(self, store: Store, under_way: Iterable[Step] = ()) -> Faulty:
        """Compare the stored reactions with the expected ones; skip those that unfinished steps touch."""
        under_way = list(under_way)
        stored: set[Given] = set()
        for user_id in self.users:
            standing = await standing_in(store, self.who(user_id), list(self.replies))
            stored |= {
                Given(user_id, message_id, emoji)
                for message_id, here in standing.items()
                if message_id in self.replies
                for emoji, _ in here
            }
        wanted = {one._replace(emoji=stored_key(one.emoji)): one for one in self.must_be_stored()}

        def settled(ones: Iterable[Given]) -> list[Given]:
            shown = [wanted.get(one, one) for one in ones]
            keyed = [step._replace(emoji=stored_key(step.emoji)) for step in under_way if step.emoji]
            return [one for one in shown if not self.touched(one, [*under_way, *keyed])]

        return Faulty(settled(wanted.keys() - stored), settled(stored - wanted.keys()))

    def canaries(self, master_key: str) -> Canaries:
        """Canaries for everything of this Discord that must never be stored in plain text."""
        found = Canaries().text("said", SAID).text("name", NAMES).text("candidate", "Wacholderbeeren")
        found.text("master key", master_key)
        for name, ids in {
            "guild": [self.guild_id],
            "channel": self.channels,
            "member": self.users,
            "message": self.replies,
        }.items():
            for one in ids:
                found.id(name, one)
        return found


_NOT_SAVED = {"subscribers", "transcript", "http_requests", "faults"}


def save(path: Path, backend: Any, model: Model) -> None:
    """Save Discord and model atomically: a kill leaves the old pair or the new one."""
    discord = {name: value for name, value in vars(backend).items() if name not in _NOT_SAVED}
    draft = path.with_suffix(".draft")
    draft.write_bytes(pickle.dumps((discord, model)))
    os.replace(draft, path)


def load(path: Path, backend: Any) -> Model:
    """Restore the saved Discord into ``backend`` and return its model."""
    discord, model = pickle.loads(path.read_bytes())
    vars(backend).update(discord)
    return model


def load_model(path: Path) -> Model:
    """Load only the model."""
    return pickle.loads(path.read_bytes())[1]
