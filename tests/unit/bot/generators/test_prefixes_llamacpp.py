"""llama.cpp in this process, with the packaged model: slots go on from one reading, and what they keep."""

from __future__ import annotations

import os

import pytest

from bot.generation import Context, Style, Turn
from bot.generators.llamacpp import LlamaCppGenerator
from bot.generators.model_files import prepare_gguf
from bot.generators.prefixes.slots import Slots
from bot.memory import Leaving
from bot.settings import GeneratorSettings

pytestmark = pytest.mark.slow
STYLES = (Style("short", "Answer in one short sentence.", 0.0), Style("why", "Give a reason.", 0.0))
TALK = (
    "Do you know a good soup for a cold winter evening?",
    "A thick lentil soup with cumin keeps you warm. Fry an onion, add two carrots and a cup of red lentils.",
    "What can I use in place of the lentils?",
    "White beans or chickpeas work well. Soak them overnight, and let them simmer for an hour.",
)
TURNS = tuple(Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(TALK))
EVERYONE = Leaving(pseudonym_of=lambda who: None, everyone=True)


@pytest.fixture(scope="module")
def loaded():
    settings = GeneratorSettings(persona="You are kind.", max_new_tokens=12, candidates=2, context_tokens=512)
    return LlamaCppGenerator.load(prepare_gguf(settings, progress=False), settings, n_threads=1)


class Watched:
    """llama.cpp, with the number of prompt tokens that each request had to read."""

    def __init__(self, server) -> None:
        self.server, self.n_read = server, []
        self.first: dict[str, dict[str, float]] = {}
        """Message -> the likeliest first tokens of its answer, with their log probabilities."""

    def handle_chat_completions(self, request, take) -> None:
        said = request["messages"][-1]["content"]

        def seen(chunk) -> bool:
            if "timings" in chunk:
                self.n_read.append(chunk["timings"]["prompt_n"])
            for choice in chunk.get("choices", ()):
                for token in (choice.get("logprobs") or {}).get("content", ()):
                    likely = {one["token"]: one["logprob"] for one in token["top_logprobs"]}
                    self.first.setdefault(said, likely)
            return take(chunk)

        asked = {"logprobs": True, "top_logprobs": 5} if request["max_tokens"] > 1 else {}
        self.server.handle_chat_completions(request | asked, seen)


@pytest.fixture
def gen(loaded):
    """The generator, with nothing kept."""
    server, slots = loaded._server, loaded._slots
    slots.prefixes.clear()
    slots.erase()
    loaded._server = Watched(server)
    yield loaded
    slots.prefixes.stop()
    loaded._server, loaded._slots = server, slots


CONTEXT = Context("What is the capital of France?", TURNS)
LATER = Context("And of Italy?", (*TURNS, Turn("user", CONTEXT.message), Turn("assistant", "It is Paris.")))


async def test_sharing_reads_the_shared_part_once_and_changes_the_answer_by_rounding_only(gen):
    for context in (CONTEXT, LATER):
        await gen.generate(context, STYLES)
    n_read, together, gen._server.first = gen._server.n_read, gen._server.first, {}
    gen._slots = Slots("", "", 2)
    for context in (CONTEXT, LATER):
        await gen.generate(context, STYLES)
    alone = gen._server.first

    (first, *branched), (second, *again) = n_read[:3], n_read[3:6]
    assert first > 80 and max(branched) < 0.3 * first
    assert second < 0.4 * first and max(again) < 0.3 * first, "a later turn reads only what is new"
    assert together.keys() == alone.keys() and len(alone) == 4
    for said, likely in alone.items():
        best = max(likely, key=likely.__getitem__)
        assert together[said][best] == pytest.approx(likely[best], abs=0.15)


async def test_a_draft_goes_on_from_what_was_read(gen):
    draft = (await gen.generate(CONTEXT, STYLES))[0]
    first = gen._server.n_read[0]
    gen._server.n_read.clear()

    texts = [text async for text in gen.continued(CONTEXT, STYLES[0], draft.text)]

    assert texts[-1].startswith(draft.text[:5])
    assert sum(gen._server.n_read) < 0.5 * first


def state_of(gen) -> tuple[int, int]:
    """Return the bytes of the files, and of the states that the slots still have."""
    slots = gen._slots
    files = [file for _, file in slots.prefixes._kept] + slots._free
    total = 0
    for slot in range(slots.n):
        file = os.memfd_create("look")
        slots._do(slot, "save", file)
        total += os.fstat(file).st_size
        os.close(file)
    return sum(os.fstat(file).st_size for file in files), total


async def test_a_forget_empties_the_files_and_slots_hold_nothing_between_replies(gen):
    await gen.generate(CONTEXT, STYLES)
    before = state_of(gen)

    gen.forget(EVERYONE)

    assert before[0] > 100_000 and before[1] < 1_000
    assert state_of(gen)[0] == 0
    assert len(gen._slots.prefixes) == 0


async def test_control_slots_that_are_not_emptied_hold_the_prompt(gen, monkeypatch):
    monkeypatch.setattr(Slots, "erase", lambda self: None)

    await gen.generate(CONTEXT, STYLES)

    assert state_of(gen)[1] > 100_000
    gen._slots._do(0, "erase")
    gen._slots._do(1, "erase")


async def test_a_forget_during_a_reply_leaves_nothing_behind(gen):
    ask = gen._server.handle_chat_completions

    def forgetting(request, take) -> None:
        ask(request, take)
        gen.forget(EVERYONE)

    gen._server.handle_chat_completions = forgetting
    candidates = await gen.generate(CONTEXT, STYLES)

    assert candidates
    assert state_of(gen) == (0, 0) or max(state_of(gen)) < 1_000


async def test_where_memory_files_cannot_be_had_each_slot_reads_for_itself(gen, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    slots = gen._slots
    gen._slots = Slots(f"http://{slots._host}", slots._key, 2)

    assert await gen.generate(CONTEXT, STYLES)
    assert len(gen._slots.prefixes) == 0
