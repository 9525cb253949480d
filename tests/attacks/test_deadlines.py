"""Work that hangs costs one candidate or one source of candidates, never the bot.

A check of the output filter, the toxicity model, the encoder or a download may hang: a device stalls, a
server does not answer, a text is slow. What is not known to be allowed is not posted, the rest goes on, and
the event loop is never held.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

import numpy as np
import pytest

from bot.generation import Candidate
from bot.messages import attachments
from bot.moderation import output_filter
from bot.moderation.output_filter import Drop, Level, OutputFilter, Rules
from bot.replies import choice
from bot.replies.faq_answers import Knowledge
from bot.settings import FaqSettings
from bot.tasks import Threads
from storage.servers.faq import FaqEntry
from tests.fakes import HashEncoder
from tests.rig.lag import measured

SOON_S = 0.1
LONGEST_MS = 100.0
CHECKS = ("tidied", "visible", "has_invitation", "split_message", "is_loop", "is_blocked", "_has_role_marker")
FINE, SLOW = "A fine answer.", "This one hangs for ever."


@pytest.fixture
def hangs():
    """Make a function hang on texts that say so, until the test ends."""
    ended = threading.Event()

    def hanging(work):
        def instead(text, *args, **kwargs):
            if "hangs" in text:
                ended.wait(30)
            return work(text, *args, **kwargs)

        return instead

    yield hanging
    ended.set()


async def kept_of(filter_: OutputFilter, rules: Rules = output_filter.STANDARD) -> list[str]:
    """Return which texts are kept of a hanging one between two fine ones, without a hold of the loop."""
    texts = [FINE, SLOW, FINE + " Really."]
    with measured() as lag:
        async with asyncio.timeout(10 * SOON_S):
            kept = await filter_.keep([Candidate(text, "x") for text in texts], rules)
    assert max(lag.held_ms) < LONGEST_MS
    return [one.text for one in kept]


@pytest.mark.parametrize("check", CHECKS)
async def test_a_check_that_hangs_costs_its_candidate_and_no_other(check, hangs, monkeypatch):
    monkeypatch.setattr(output_filter, check, hangs(getattr(output_filter, check)))
    filter_ = OutputFilter(check_s=SOON_S)

    assert await kept_of(filter_) == [FINE, FINE + " Really."]
    assert filter_.n_dropped == {Drop.TOO_SLOW: 1}


async def test_control_without_a_deadline_a_check_that_hangs_is_waited_for(hangs, monkeypatch):
    monkeypatch.setattr(output_filter, "is_blocked", hangs(output_filter.is_blocked))

    with pytest.raises(TimeoutError):
        await kept_of(OutputFilter(check_s=3600.0))


class DeafJudge:
    """Judge that never answers, like a server behind a dead connection."""

    async def toxicity(self, texts):
        await asyncio.Event().wait()


@pytest.mark.parametrize("level", Level)
async def test_without_a_verdict_of_the_judge_nothing_is_posted(level):
    filter_ = OutputFilter(judge=DeafJudge(), judge_s=SOON_S)

    assert await kept_of(filter_, Rules(level)) == []
    assert filter_.n_dropped == {Drop.TOO_SLOW: 3}


async def test_when_every_check_is_overdue_no_candidate_is_posted(world):
    world.bot.responder.source._filter._threads = Threads(within_s=0.0)
    world.generator.enqueue(FINE, FINE + " Really.")

    answer = await world.ask(world.alice)

    assert FINE not in answer.content
    assert world.bot.responder.source.n_dropped == {Drop.TOO_SLOW: 2}


class StuckEncoder(HashEncoder):
    """Encoder whose device stalls, until the test ends."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()

    def encode(self, texts):
        self.ended.wait(30)
        return super().encode(texts)


@dataclass
class OneEntry:
    """Entries of a server with one question."""

    entry = FaqEntry("How do I join?", "Ask a manager.")

    async def versions(self, guild):
        return {1: 1}

    async def entries(self, guild, ids):
        return {1: self.entry}


async def test_faq_answers_that_are_overdue_are_left_out(caplog):
    stuck = StuckEncoder()
    knowledge = Knowledge(OneEntry(), stuck, FaqSettings(), within_s=SOON_S)

    assert await knowledge.answers(b"guild", "How do I join?") == []
    assert "TimeoutError" in caplog.text
    stuck.ended.set()
    knowledge.close()


async def test_when_the_ranking_is_overdue_the_first_candidate_is_posted(world, monkeypatch):
    monkeypatch.setattr(choice, "RANK_S", 0.0)
    world.generator.enqueue(FINE, "Another one.")

    reply = await world.ask(world.alice)

    assert reply.content == FINE
    assert world.bot.responder.n_fallbacks == 1


class DeafFile:
    """Attachment on a server that does not answer."""

    filename, content_type, size = "notes.txt", "text/plain", 10

    async def read(self):
        await asyncio.Event().wait()


async def test_a_download_that_hangs_is_given_up_with_a_note(monkeypatch):
    monkeypatch.setattr(attachments, "READ_S", SOON_S)

    read = await attachments.read_attached([DeafFile()], vision=False)

    assert (read.text, read.note) == ("", attachments.NO_FILES)


@pytest.mark.parametrize("n_hostile", [1, 16])
async def test_the_longest_hostile_candidates_are_filtered_far_within_the_deadline(n_hostile):
    rng = np.random.default_rng(0)
    pieces = ["`", "**", "[a](", "<@1>", "http://a/", "\n", "user:", "i!", "🙂", "\\", "> ", "||"]
    texts = ["".join(rng.choice(pieces, 6000))[: output_filter.MAX_LENGTH] for _ in range(n_hostile)]
    filter_ = OutputFilter(check_s=output_filter.CHECK_S)

    with measured() as lag:
        await filter_.keep([Candidate(text, "x") for text in texts])

    assert Drop.TOO_SLOW not in filter_.n_dropped
    assert lag.held(99) < LONGEST_MS
