"""The verdict and the figures of a run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tests.rig.scale.journal import Asked, Dark

TAKEOVER_S = 60.0
"""The shards of a process that died are served again within a minute."""
EDGE_S = 1.0
"""A message that was sent this long before a connection was lost may have met a process that was dying."""


@dataclass
class Prompts:
    """What became of the prompts.

    Attributes:
        sent: All prompts.
        calm: Those that a connected shard got, and that no loss of the connection interrupted.
        not_once: Calm prompts without exactly one generation and one reply.
        disturbed: The others: sent while the shard had no connection, or interrupted.
        made_up: Disturbed prompts that were answered, by a process that took over or was started again.
        left_out: Disturbed prompts without a reply.
        again: Disturbed prompts of which a second generation began, because the first died with its process.
        doubled: Prompts with two replies or more.
        strange: Generations of no known prompt.
    """

    sent: int = 0
    calm: int = 0
    not_once: list[int] = field(default_factory=list)
    disturbed: int = 0
    made_up: int = 0
    left_out: int = 0
    again: int = 0
    doubled: int = 0
    strange: int = 0


def is_disturbed(one: Asked, darks: Collection[Dark]) -> bool:
    """Return whether the shard lost its connection between a prompt and its reply."""
    until_s = one.replies[0][1] if one.replies else float("inf")
    return not one.heard or any(
        dark.shard_id == one.shard_id and dark.since_s < until_s and one.sent_s - EDGE_S < dark.until_s
        for dark in darks
    )


def judge(asked: Sequence[Asked], darks: Collection[Dark], n_unknown: int) -> tuple[Prompts, list[Asked]]:
    """Return what became of the prompts, and the calm ones with one generation and one reply."""
    found, good = Prompts(sent=len(asked), strange=n_unknown), []
    for one in asked:
        found.doubled += len(one.replies) > 1
        if is_disturbed(one, darks):
            found.disturbed += 1
            found.made_up += len(one.replies) == 1
            found.left_out += not one.replies
            found.again += len(one.begun) > 1
            continue
        found.calm += 1
        if len(one.begun) == len(one.ended) == len(one.replies) == 1:
            good.append(one)
        else:
            found.not_once.append(one.number)
    return found, good


def percentiles(seconds: Collection[float]) -> dict[str, float]:
    """Return median, 95th and 99th percentile and the greatest, in milliseconds."""
    if not seconds:
        return {}
    at = np.percentile(list(seconds), (50, 95, 99, 100)) * 1000
    return dict(zip(("p50", "p95", "p99", "max"), (round(float(one), 1) for one in at), strict=True))


@dataclass
class Outcome:
    """All that a run found.

    Attributes:
        size: What was run.
        prompts: What became of the prompts.
        overhead_ms: From a message to its reply, without generation; calm prompts alone.
        made_up_s: From a disturbed prompt to its reply.
        kills: Processes that were killed.
        dark_s: How long shards had no connection after a kill, seconds.
        sessions: Sessions that began; calls before their turn; times that Discord took the token away.
        refused: Requests that Discord answered with 429, by scope.
        labels: Reactions that Discord shows; those that the database lacks; those that only it has.
        rows: Replies to members who agreed; rows of replies; rows of messages.
        agreed: Members who agreed; those whose consent is stored; interactions that the bot did not answer.
        machine: Processor time, memory, load.
        exits: Exit codes of the processes at the end.
        orphans: Children of killed processes that ran on.
    """

    size: dict[str, Any]
    prompts: Prompts
    overhead_ms: dict[str, float]
    made_up_s: dict[str, float]
    kills: int
    dark_s: list[float]
    sessions: dict[str, int]
    refused: dict[str, int]
    labels: dict[str, int]
    rows: dict[str, int]
    agreed: dict[str, int]
    machine: dict[str, Any]
    exits: list[int | None]
    orphans: int

    def faults(self, takeover_s: float = TAKEOVER_S) -> list[str]:
        """Return what must not be.

        Args:
            takeover_s: The longest time that a shard may have no connection.
        """
        prompts, labels = self.prompts, self.labels
        checks = {
            f"prompts without one generation and one reply: {prompts.not_once[:10]}": prompts.not_once,
            f"{prompts.doubled} prompts with two replies": prompts.doubled,
            f"{prompts.strange} generations of unknown prompts": prompts.strange,
            f"sessions: {self.sessions}": self.sessions["too_soon"] or self.sessions["tokens_lost"],
            f"takeover: {max(self.dark_s, default=0.0):.1f} s": max(self.dark_s, default=0.0) > takeover_s,
            f"labels: {labels}": labels["lost"] or labels["extra"],
            f"rows: {self.rows}": self.rows["replies"] != self.rows["messages"],
            f"consents: {self.agreed}": self.agreed["said"] != self.agreed["stored"],
            f"exit codes: {self.exits}": any(self.exits),
            f"{self.orphans} processes outlived their parent": self.orphans,
        }
        return [text for text, found in checks.items() if found]

    def as_json(self) -> dict[str, Any]:
        """Return everything, with the verdict."""
        return asdict(self) | {"faults": self.faults()}

    def line(self) -> str:
        """Return one line for people."""
        prompts = self.prompts
        return (
            f"{prompts.sent} prompts: {prompts.calm} undisturbed, {len(prompts.not_once)} of them not exactly"
            f" once; {prompts.disturbed} disturbed, {prompts.made_up} of them answered later,"
            f" {prompts.doubled} doubled; {self.kills} kills, takeover at most"
            f" {max(self.dark_s, default=0.0):.1f} s; labels {self.labels}; overhead {self.overhead_ms} ms"
        )
