"""A real llama.cpp server on loopback, with the packaged model: its tokenizer, its refusals, a draft."""

from __future__ import annotations

import pytest
import xllamacpp

from bot.doctor import Verdict
from bot.doctor.models import examine_model
from bot.generation import Context, Turn
from bot.generators.model_files import prepare_gguf
from bot.settings import GeneratorSettings
from tests.unit.bot.generators.scripted_server import STYLES, generator
from tests.unit.bot.generators.token_samples import COUNTED

pytestmark = pytest.mark.slow
N_CONTEXT = 256


@pytest.fixture(scope="module")
def url():
    params = xllamacpp.CommonParams()
    params.model.path = str(prepare_gguf(GeneratorSettings(), False))
    params.verbosity, params.hostnames, params.port = -1, ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx, params.warmup = 1, N_CONTEXT, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    server.handle_completions({"prompt": "a", "n_predict": 1})
    yield f"{server.listening_address}/v1"
    del server


async def test_it_counts_the_tokens_of_every_sample(url):
    async with generator(url) as gen:
        fitting = gen._known("tiny").fitting
        counted = {name: await fitting._count(text) for name, (text, _) in COUNTED.items()}

    assert counted == {name: n_tokens for name, (_, n_tokens) in COUNTED.items()}


async def test_a_context_longer_than_the_servers_is_shortened_until_it_fits(url, caplog):
    turns = tuple(
        Turn("assistant" if i % 2 else "user", f"turn {i} " + "many words " * 12) for i in range(30)
    )
    settings = {"context_tokens": 4000, "max_new_tokens": 8}
    async with generator(url, **settings) as gen:
        candidates = await gen.generate(Context("Say hello.", turns), STYLES)
        caplog.clear()
        again = await gen.generate(Context("Say hello.", turns), STYLES[:1])

    assert len(candidates) >= 1 and len(again) == 1
    assert "400" not in caplog.text, "the length is remembered"


async def test_a_draft_is_continued(url):
    async with generator(url, max_new_tokens=24, draft_tokens=8) as gen:
        (draft,) = await gen.generate(Context("Tell me about the sea."), STYLES[:1])
        texts = [
            text async for text in gen.continued(Context("Tell me about the sea."), STYLES[0], draft.text)
        ]

    assert all(text.startswith(draft.text[:5]) for text in texts)


async def test_the_doctor_gets_a_reply(url):
    finding = await examine_model(
        GeneratorSettings(kind="openai", model="any", base_url=url, max_new_tokens=8)
    )

    assert finding.verdict is Verdict.WARNING, finding.said
    assert "wrote a reply in" in finding.said
    assert "lists 1 model, but not any" in finding.said, "llama.cpp answers to every name"
