"""Prompts that share their beginning: what stands where, what is kept, and that sharing changes no text."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
import torch

from bot.generation import Context, Style, Turn
from bot.generation.steady import steadied, steady_start
from bot.generators.prefixes.attention import Rows, rows_of
from bot.generators.prefixes.kept import KeptPrefixes, n_common
from bot.generators.prompt import estimate, estimated_cut, fit, with_note
from bot.memory import Leaving
from tests.unit.bot.generators.tiny_llama import (
    CHATML,
    NO_SYSTEM,
    SILENT_ABOUT_SYSTEM,
    byte_tokenizer,
    generator,
    prompts,
)

STYLES = tuple(Style(f"s{i}", "Be " + "very " * i + "kind.", 0.0) for i in range(3))
TURNS = tuple(Turn("assistant" if i % 2 else "user", f"turn {i} of a longer talk") for i in range(8))
EVERYONE = Leaving(pseudonym_of=lambda who: None, everyone=True)


# ---- the order of a prompt ----


@pytest.mark.parametrize("template", [CHATML, NO_SYSTEM, SILENT_ABOUT_SYSTEM, None])
def test_prompts_differ_only_behind_the_message(template):
    rendered = prompts(generator(template), Context("and what now?", TURNS), STYLES)

    shared = rendered[0][: n_common(rendered[0], rendered[1])]
    assert "You are kind." in shared and all(turn.text in shared for turn in TURNS)
    assert "and what now?" in shared
    assert all(style.instruction in prompt for style, prompt in zip(STYLES, rendered, strict=True))


def test_a_note_stands_behind_pictures_and_alone_where_there_are_no_words():
    picture = {"type": "image_url", "image_url": {"url": "data:"}}

    assert with_note([{"role": "user", "content": [picture]}], "Be kind.") == [
        {"role": "user", "content": [picture, {"type": "text", "text": "(Be kind.)"}]}
    ]
    assert with_note([{"role": "user", "content": ""}], "Be kind.")[0]["content"] == "(Be kind.)"
    assert with_note([{"role": "user", "content": "hi"}], "")[0]["content"] == "hi"


# ---- history in steps ----


@pytest.mark.parametrize("most", [1, 2, 5, 12, 40])
def test_a_history_is_never_longer_than_allowed_nor_shorter_than_half(most):
    for n in range(3 * most):
        kept = n - steady_start([f"{random.Random(i).random()}" for i in range(n)], most)

        assert min(n, (most + 1) // 2) <= kept <= min(n, most)


def starts_over(n_turns: int, most: int) -> list[int]:
    """Return where the history starts at each message of a conversation, once it is too long."""
    texts = [f"turn {i} {random.Random(i).random()}" for i in range(n_turns)]
    return [steady_start(texts[:n], most) for n in range(most + 1, n_turns)]


@pytest.mark.parametrize("most", [12, 40])
def test_a_growing_conversation_starts_at_the_same_turn_for_several_messages(most):
    starts = starts_over(300, most)

    moves = sum(one != other for one, other in pairwise(starts))
    assert starts == sorted(starts)
    assert moves < len(starts) * 3 / (most / 2)  # every message would be len(starts) - 1


def test_the_prefix_survives_most_turns_of_a_conversation_that_exceeds_the_budget():
    turns = tuple(Turn("assistant" if i % 2 else "user", f"turn {i} " + "word " * 20) for i in range(60))
    fitted = [fit(Context("now", turns[:n]), "P", 900, estimate, estimated_cut).turns for n in range(30, 60)]

    same = sum(one == other[: len(one)] for one, other in pairwise(fitted))
    assert same >= 0.6 * (len(fitted) - 1)
    assert all(len(one) >= 6 for one in fitted)


def test_a_whole_history_of_messages_stays_whole():
    class One:
        def __init__(self, number: int) -> None:
            self.id = number

    messages = [One(i) for i in range(12)]

    assert steadied(messages[:11], 12) == messages[:11]
    assert 6 <= len(steadied(messages, 12)) < 12
    assert steadied(messages[:1], 1) == messages[:1]


# ---- what is kept ----


def test_the_common_beginning_is_what_a_slow_count_finds():
    rng = random.Random(3)
    for _ in range(300):
        one, other = ([rng.randrange(2) for _ in range(rng.randrange(9))] for _ in range(2))
        slow = next(
            (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
            min(len(one), len(other)),
        )

        assert n_common(one, other) == slow


def test_a_conversation_keeps_one_prompt_and_only_the_latest_ones_stay():
    dropped: list[int] = []
    kept = KeptPrefixes(dropped.append, most=2)
    for number, prompt in enumerate(("aaaa", "aaaabb", "cccc", "aaaabbdd", "eeee")):
        kept.keep(prompt, number, since=0)

    assert (len(kept), dropped) == (2, [0, 1, 2])
    assert kept.longest("aaaabbx") == (6, 3)
    assert kept.longest("eeee") == (4, 4)


def test_what_was_read_before_a_forget_is_not_kept_after_it():
    dropped: list[int] = []
    kept = KeptPrefixes(dropped.append)
    kept.keep("one", 1, since=kept.epoch)
    began = kept.epoch

    kept.clear()
    kept.keep("two", 2, since=began)

    assert (len(kept), dropped, kept.longest("one")) == (0, [1, 2], (0, None))


async def test_everything_is_dropped_after_a_time_without_a_reply():
    kept = KeptPrefixes(idle_s=0.05)
    kept.keep("one", 1, since=0)
    kept.used()
    kept.used()
    before = len(kept)

    await asyncio.sleep(0.2)

    assert (before, len(kept)) == (1, 0)


# ---- transformers ----


def counted(gen) -> list[int]:
    """Record the tokens (k x n) of each pass of a generator's model."""
    passes: list[int] = []
    gen._model.get_input_embeddings().register_forward_hook(
        lambda _, given, __: passes.append(given[0].numel())
    )
    return passes


async def replies(shares: bool) -> tuple[list, list[int]]:
    """Three replies of one conversation, written greedily, and the tokens that were read for each."""
    gen = generator(max_new_tokens=12, context_tokens=4000)
    gen._shared._works = shares
    passes, read, written = counted(gen), [], []
    for n in (20, 22, 24):
        turns = tuple(Turn("assistant" if i % 2 else "user", f"turn {i} " + "talk " * 9) for i in range(n))
        passes.clear()
        written.append(await gen.generate(Context("and now?", turns), STYLES))
        read.append(sum(one for one in passes if one > len(STYLES)))
    await gen.close()
    return written, read


async def test_sharing_changes_no_text_and_reads_the_shared_part_once():
    together, read_once = await replies(shares=True)
    alone, read_each = await replies(shares=False)

    assert together == alone
    assert read_once[0] < 0.6 * read_each[0]
    assert all(once < 0.4 * read_once[0] for once in read_once[1:]), "a later turn reads only what is new"


def logits_of(gen, rows: Rows, **arguments) -> torch.Tensor:
    """Return the logits of the first three tokens behind each prompt; (k, 3, vocabulary)."""
    with torch.inference_mode():
        given = rows.inputs() | gen._shared.read(gen._model, rows) | arguments
        chosen = {"do_sample": False, "max_new_tokens": 3, "min_new_tokens": 3}
        out = gen._model.generate(**given, **chosen, output_logits=True, return_dict_in_generate=True)
    return torch.stack(out.logits, dim=1)


def test_the_model_computes_the_same_for_shared_rows_as_for_each_prompt_alone():
    gen, alone = generator(), generator()
    for one in (gen, alone):
        for weight in one._model.parameters():
            weight.data *= 8  # else a random model says the same to every prompt
    texts = prompts(gen, Context("and now?", TURNS), STYLES)
    rows = gen._encode(texts)

    shared = logits_of(gen, rows)
    each = torch.cat([logits_of(alone, alone._encode([text])) for text in texts])
    wrong = logits_of(gen, rows, attention_mask=torch.ones_like(rows.attention_mask))

    assert rows.n_shared > 100 and rows.attention_mask.min() == 0
    torch.testing.assert_close(shared, each, atol=1e-3, rtol=1e-3)
    assert (wrong - each).abs().max() > 0.1, "control: padding that counts changes what the model computes"


async def test_a_forget_drops_what_was_read_and_the_next_reply_reads_all_again():
    gen = generator()
    passes, context = counted(gen), Context("and now?", TURNS)
    await gen.generate(context, STYLES)
    first, kept = sum(passes), len(gen._shared.prefixes)

    gen.forget(EVERYONE)
    after = len(gen._shared.prefixes)
    passes.clear()
    await gen.generate(context, STYLES)

    assert (kept, after) == (1, 0)
    assert sum(passes) >= 0.9 * first
    await gen.close()


async def test_a_model_whose_state_is_more_than_keys_and_values_reads_each_prompt_as_a_whole():
    gen = generator()
    gen._model.config.sliding_window, gen._model.config.layer_types = 64, ["sliding_attention"]
    again = type(gen)(gen._model, byte_tokenizer(CHATML), gen._settings, "Tiny")

    assert again._shared._works is False and gen._shared._works is True
    assert await again.generate(Context("and now?", TURNS), STYLES)
    assert len(again._shared.prefixes) == 0
    await again.close()
    await gen.close()


def test_rows_are_padded_between_what_they_share_and_their_ends():
    start = list(range(20))

    rows = rows_of([[*start, 1, 2], [*start, 3]], 9, torch.device("cpu"))

    assert rows.input_ids[:, 19:].tolist() == [[19, 1, 2], [19, 9, 3]]
    assert rows.attention_mask[:, 19:].tolist() == [[1, 1, 1], [1, 0, 1]]
    assert (rows.n_shared, rows_of([start], 9, torch.device("cpu")).n_shared) == (20, 19)
