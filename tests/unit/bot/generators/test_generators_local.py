"""The local generator on a tiny random model: one thread, cancelling, drafts, loading."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import pytest
import torch

from bot.generation import Context, GeneratorUnavailable, ModelMissing
from bot.generators import local
from bot.generators.cleaning import candidates_of
from bot.generators.factory import create_generator
from bot.generators.hardware import device_for, dtype_for
from bot.settings import GeneratorSettings
from tests.unit.bot.generators.tiny_llama import (
    CHATML,
    STYLES,
    byte_tokenizer,
    generator,
    prompts,
    tiny_model,
)

# ---- generation ----


async def test_all_styles_are_rows_of_one_generation_padded_on_the_left():
    gen = generator()

    await gen.generate(Context("hello"), STYLES)

    ((thread, inputs, rows),) = gen._model.calls
    assert thread.startswith("generation")
    assert (inputs.shape[0], rows.shape[0]) == (2, 2)
    shared = len(prompts(gen, Context("hello"), STYLES)[0].partition("Be short")[0])
    n_padding = len(STYLES[1].instruction) - len(STYLES[0].instruction)
    assert gen._tokenizer.decode(inputs[0, :20]) == gen._tokenizer.decode(inputs[1, :20])
    assert (inputs == gen._tokenizer.pad_token_id).sum(-1).tolist() == [2 + n_padding, 2]
    assert shared > 40
    assert rows.shape[1] <= inputs.shape[1] + 8
    await gen.close()


async def test_candidates_are_cleaned_on_the_generation_thread(monkeypatch):
    gen = generator()
    threads = []

    def watched(written, **options):
        threads.append(threading.current_thread().name)
        return candidates_of(written, **options)

    monkeypatch.setattr(local, "candidates_of", watched)
    await gen.generate(Context("hello"), STYLES)

    assert [name.startswith("generation") for name in threads] == [True]
    await gen.close()


async def test_candidates_carry_their_styles_in_order():
    gen = generator(max_new_tokens=16)

    candidates = await gen.generate(Context("hello"), STYLES)

    assert [candidate.style for candidate in candidates] == ["short", "long"]
    assert all(candidate.text for candidate in candidates)
    await gen.close()


async def test_a_temperature_of_zero_always_says_the_same():
    gen = generator(max_new_tokens=16)

    first = await gen.generate(Context("hello"), (STYLES[0], STYLES[1]))
    second = await gen.generate(Context("hello"), (STYLES[0], STYLES[1]))

    assert first[0] == second[0]
    assert first[1] != second[1]
    await gen.close()


async def test_generations_run_one_at_a_time_in_the_order_asked():
    gen = generator(max_new_tokens=32)
    finished = []

    async def ask(i: int) -> None:
        await gen.generate(Context("x" * (i + 1)), STYLES)
        finished.append(i)

    await asyncio.gather(*(ask(i) for i in range(6)))

    lengths = [inputs.shape[1] for _, inputs, _ in gen._model.calls]
    assert gen._model.most_running == 1
    assert lengths == sorted(lengths)
    assert finished == list(range(6))
    assert len({thread for thread, _, _ in gen._model.calls}) == 1
    await gen.close()


async def test_a_cancelled_generation_stops_early_and_the_next_one_works():
    gen = generator(max_new_tokens=4000, context_tokens=512)
    task = asyncio.create_task(gen.generate(Context("hello"), (STYLES[1],) * 2))
    while not gen._model.started.is_set():
        await asyncio.sleep(0.001)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gen._settings = GeneratorSettings(max_new_tokens=8)
    after = await gen.generate(Context("hello"), STYLES)

    (_, inputs, rows), _ = gen._model.calls
    assert rows.shape[1] - inputs.shape[1] < 4000
    assert after
    await gen.close()


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_the_reading_of_a_prompt_is_interrupted_between_two_layers(how):
    gen = generator(max_new_tokens=8)
    began, go = threading.Event(), threading.Event()
    layers = []

    def hold(*_):
        began.set()
        go.wait()

    gen._model.get_input_embeddings().register_forward_hook(hold)
    gen._model.lm_head.register_forward_hook(lambda *_: layers.append("last"))
    task = asyncio.create_task(gen.generate(Context("hello"), STYLES))
    await asyncio.to_thread(began.wait)
    if how == "cancelled":
        task.cancel()
        await asyncio.sleep(0)
    closing = asyncio.create_task(gen.close())
    await asyncio.sleep(0.01)
    go.set()
    await closing

    with pytest.raises((GeneratorUnavailable, asyncio.CancelledError)):
        await task
    assert layers == []


async def test_nothing_stays_on_the_layers_after_a_generation():
    gen = generator(max_new_tokens=8)
    await gen.generate(Context("hello"), STYLES)

    assert [
        module for module in gen._model.modules() if module._forward_pre_hooks or module._forward_hooks
    ] == []
    await gen.close()


async def test_a_generation_cancelled_while_waiting_never_starts():
    gen = generator(max_new_tokens=200)
    first = asyncio.create_task(gen.generate(Context("one"), STYLES))
    second = asyncio.create_task(gen.generate(Context("two"), STYLES))
    await asyncio.sleep(0)

    second.cancel()
    await first

    assert len(gen._model.calls) == 1
    await gen.close()


async def test_closing_ends_a_running_generation_and_the_thread():
    gen = generator(max_new_tokens=4000, context_tokens=512)
    task = asyncio.create_task(gen.generate(Context("hello"), (STYLES[1],) * 2))
    while not gen._model.started.is_set():
        await asyncio.sleep(0.001)

    await gen.close()
    await gen.close()

    with pytest.raises(GeneratorUnavailable, match="closed during generation"):
        await task
    with pytest.raises(GeneratorUnavailable, match="was closed; restart the bot"):
        await gen.generate(Context("hello"), STYLES)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("generation")]


async def test_a_draft_is_gone_on_with_by_its_own_style_within_the_limit():
    gen = generator(max_new_tokens=24, draft_tokens=8)
    drafts = await gen.generate(Context("hello"), STYLES)

    async with aclosing(gen.continued(Context("hello"), STYLES[0], "So it begins:")) as texts:
        grown = [text async for text in texts]

    _, (thread, inputs, more) = gen._model.calls
    prompt = prompts(gen, Context("hello"), STYLES[:1])[0] + "So it begins:"
    assert [draft.unfinished for draft in drafts] == [True] * len(drafts)
    assert gen._tokenizer.decode(inputs[0]) == prompt
    assert more.shape[1] - inputs.shape[1] <= 24 - 8
    assert thread.startswith("generation")
    assert len(grown) > 2 and all(text.startswith("So it begins:") for text in grown)
    await gen.close()


async def test_going_on_stops_between_two_tokens_when_nobody_wants_more():
    gen = generator(max_new_tokens=4000, draft_tokens=8)
    gen._model.generation_config.eos_token_id = 259  # this model never writes an end token

    async with aclosing(gen.continued(Context("hello"), STYLES[0], "So")) as texts:
        async for _ in texts:
            break

    ((_, inputs, rows),) = gen._model.calls
    assert rows.shape[1] - inputs.shape[1] < 3000
    assert gen._model.running == 0
    await gen.close()


async def test_memory_that_runs_out_is_explained():
    gen = generator()

    def too_much(**_):
        raise torch.OutOfMemoryError

    gen._model.generate = too_much
    with pytest.raises(GeneratorUnavailable, match=r"ran out of memory; lower \[generator\] context_tokens"):
        await gen.generate(Context("hello"), STYLES)
    await gen.close()


async def test_the_name_tells_model_device_and_number_format():
    gen = generator()

    assert gen.name == "Tiny on CPU, float32"
    await gen.close()


# ---- loading ----


def test_a_saved_folder_loads_and_generates(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    byte_tokenizer(CHATML).save_pretrained(tmp_path)
    settings = GeneratorSettings(model=str(tmp_path), max_new_tokens=8, device="cpu")

    gen = create_generator(settings)

    async def say():
        candidates = await gen.generate(Context("hello"), STYLES)
        await gen.close()
        return candidates

    assert [candidate.style for candidate in asyncio.run(say())] == ["short", "long"]
    assert gen.name.startswith(f"{tmp_path.name} on CPU, ")


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(ModelMissing, match=r"config.json is empty JSON"):
        create_generator(GeneratorSettings(model=str(tmp_path), device="cpu"))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_damaged_folder_is_refused_in_one_line(tmp_path, name):
    tiny_model().save_pretrained(tmp_path)
    byte_tokenizer(CHATML).save_pretrained(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])

    with pytest.raises(ModelMissing, match=rf"{name} is damaged.* again") as caught:
        create_generator(GeneratorSettings(model=str(tmp_path), device="cpu"))
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_refused(tmp_path):
    tiny_model().config.save_pretrained(tmp_path)
    byte_tokenizer(CHATML).save_pretrained(tmp_path)
    torch.save(tiny_model().state_dict(), tmp_path / "pytorch_model.bin")

    with pytest.raises(ModelMissing, match=r"pytorch_model.bin may hold code .* expected model.safetensors"):
        create_generator(GeneratorSettings(model=str(tmp_path), device="cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(GeneratorUnavailable, match="expected the device 'cuda', found only"):
        device_for("cuda")


def test_the_cpu_is_always_there_and_has_a_format():
    assert device_for("cpu") == torch.device("cpu")
    assert dtype_for(torch.device("cpu")) in (torch.bfloat16, torch.float32)
