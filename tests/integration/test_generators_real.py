"""All generators with the real language model: transformers and llama.cpp here, and behind a real server."""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from bot.generation import CandidateGenerator, Context, GeneratorUnavailable, ModelMissing, Shape, Style, Turn
from bot.generators.factory import create_generator, runs_on_llamacpp
from bot.generators.llamacpp import LlamaCppGenerator
from bot.generators.local import LocalGenerator
from bot.generators.model_files import MANIFEST, SMOLLM2, locate, prepare_generator_model, prepare_gguf
from bot.generators.openai_server import OpenAIGenerator
from bot.messages.sentences import sentence_ends
from bot.settings import DEFAULT_STYLES, GeneratorSettings
from tests.rig.lag import measured
from tests.rig.waiting import AT_MOST_S

pytestmark = pytest.mark.slow

REPO = Path(__file__).parents[2]
QUESTION = Context("What is a good way to spend a rainy Sunday?")


@pytest.fixture(scope="session")
def model_dir(request):
    """Folder of the converted model, kept between runs; a damaged conversion is repeated."""
    return request.config.cache.mkdir("models")


@pytest.fixture(scope="module")
def folder(model_dir) -> Path:
    return Path(prepare_generator_model(GeneratorSettings(model_dir=model_dir), progress=False))


@asynccontextmanager
async def closed_afterwards(generator):
    try:
        yield generator
    finally:
        await generator.close()


def opened(folder: Path, runtime: str, **changed) -> CandidateGenerator:
    """The packaged model under one of the two runtimes."""
    settings = GeneratorSettings(device="cpu", runtime=runtime, **changed)
    if runtime == "llamacpp":
        return LlamaCppGenerator.load(prepare_gguf(settings, progress=False), settings, n_threads=1)
    return LocalGenerator.load(folder, settings)


@pytest.fixture(params=["transformers", "llamacpp"])
async def local(request, folder):
    async with closed_afterwards(opened(folder, request.param, max_new_tokens=24)) as generator:
        yield generator


@pytest.fixture(scope="module")
def server_url():
    """A real llama.cpp server on a free loopback port, serving the packaged file."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(locate(SMOLLM2))
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = 4
    params.n_ctx = 4096
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity = -1
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


def test_conversion_keeps_the_weights_of_the_packaged_file(folder):
    from gguf import GGUFReader
    from gguf.quants import dequantize

    tensors = {tensor.name: tensor for tensor in GGUFReader(locate(SMOLLM2)).tensors}
    with safe_open(folder / "model.safetensors", "pt") as converted:
        for name, ours in {
            "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
            "blk.29.attn_output.weight": "model.layers.29.self_attn.o_proj.weight",
            "output_norm.weight": "model.norm.weight",
        }.items():
            source = torch.from_numpy(dequantize(tensors[name].data, tensors[name].tensor_type).copy())
            found = converted.get_tensor(ours)
            assert torch.equal(found, source.reshape(found.shape).to(torch.bfloat16)), name


def test_a_prepared_model_is_not_converted_again(folder, model_dir):
    before = (folder / MANIFEST).stat().st_mtime_ns

    again = prepare_generator_model(GeneratorSettings(model_dir=model_dir), progress=False)

    assert again == folder
    assert (folder / MANIFEST).stat().st_mtime_ns == before


async def test_four_styles_give_distinct_candidates_and_the_loop_stays_responsive(local):
    await local.generate(QUESTION, DEFAULT_STYLES[:1])
    started = time.process_time()

    with measured() as lag:
        candidates = await local.generate(QUESTION, DEFAULT_STYLES)
    cpu_ms = 1000 * (time.process_time() - started)

    print(f"\n{local.name}: 4 x 24 tokens in {cpu_ms:.0f} ms of CPU, loop lag p99 {lag.late(99):.1f} ms")
    assert len({candidate.text.casefold() for candidate in candidates}) >= 2
    # A free event loop runs many iterations during a generation; a blocked one runs only one or two.
    assert len(lag.late_ms) > 20
    assert sum(lag.held_ms) < cpu_ms / 2


@pytest.mark.parametrize("runtime", ["transformers", "llamacpp"])
async def test_the_likeliest_answer_is_on_topic(folder, runtime):
    style = Style("plain", "Answer in one short sentence.", 0.0)
    likeliest = opened(folder, runtime, max_new_tokens=20, persona="You are a helpful assistant.")

    async with closed_afterwards(likeliest) as generator:
        candidates = await generator.generate(Context("What is the capital of France?"), [style])

    assert [candidate.text for candidate in candidates] == ["The capital of France is Paris."]


@pytest.mark.parametrize("runtime", ["transformers", "llamacpp", "openai"])
async def test_a_begun_answer_is_gone_on_with_and_can_be_stopped(folder, server_url, runtime):
    style = Style("plain", "Answer in one short sentence.", 0.0)
    chosen = {"max_new_tokens": 40, "draft_tokens": 8, "persona": "You are a helpful assistant."}
    if runtime == "openai":
        going = OpenAIGenerator(GeneratorSettings(kind="openai", model="tiny", base_url=server_url, **chosen))
    else:
        going = opened(folder, runtime, **chosen)

    async with closed_afterwards(going) as generator:
        question, begun = Context("What is the capital of France?"), "The capital of"
        texts = [text async for text in generator.continued(question, style, begun)]
        assert texts[-1] == "The capital of France is Paris."
        assert all(texts[-1].startswith(text) for text in texts)
        async with aclosing(generator.continued(Context("Count to a thousand."), style, "One,")) as more:
            async for _ in more:
                break
        assert await generator.generate(question, [style])  # the model is free again


async def test_two_generations_are_serialised_and_a_cancelled_one_frees_the_thread(local):
    styles = DEFAULT_STYLES[:1]
    order = []

    async def ask(name: str) -> None:
        await local.generate(QUESTION, styles)
        order.append(name)

    await asyncio.gather(ask("first"), ask("second"))
    assert order == ["first", "second"]

    endless = asyncio.create_task(local.generate(QUESTION, DEFAULT_STYLES))
    await asyncio.sleep(0.3)
    endless.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endless
    async with asyncio.timeout(AT_MOST_S):
        await ask("after")


async def test_a_4000_character_message_and_a_long_history_are_answered(local):
    turns = tuple(Turn("user" if i % 2 else "assistant", f"turn {i} " * 40) for i in range(40))

    assert await local.generate(Context("so what do you think? " * 182, turns), DEFAULT_STYLES[:1])


async def test_an_empty_message_is_answered_and_emoji_survive(local):
    assert await local.generate(Context(""), DEFAULT_STYLES[:2])
    assert await local.generate(Context("🎉👩‍👩‍👧‍👦🏴󠁧󠁢󠁳󠁣󠁴󠁿 שלום"), DEFAULT_STYLES[:2])


async def test_llamacpp_cuts_a_prompt_that_is_longer_than_its_estimate(folder):
    rare = "".join(chr(0x1D400 + i % 800) for i in range(900))  # several tokens a character

    async with closed_afterwards(
        opened(folder, "llamacpp", max_new_tokens=8, context_tokens=512)
    ) as generator:
        assert await generator.generate(Context(rare), DEFAULT_STYLES[:1])


async def test_llamacpp_closed_while_it_writes_says_so_and_lets_go(folder):
    generator = opened(folder, "llamacpp", max_new_tokens=800)
    endless = asyncio.create_task(generator.generate(QUESTION, DEFAULT_STYLES))
    await asyncio.sleep(0.3)

    await generator.close()
    await generator.close()

    with pytest.raises(GeneratorUnavailable, match="was closed"):
        await endless
    with pytest.raises(GeneratorUnavailable, match="was closed"):
        await generator.generate(QUESTION, DEFAULT_STYLES)


@pytest.mark.parametrize("runtime", ["transformers", "llamacpp"])
async def test_a_model_closed_while_it_reads_a_long_prompt_lets_go_at_once(folder, runtime):
    generator = opened(folder, runtime, context_tokens=7000)
    reading = asyncio.create_task(generator.generate(Context("word " * 6000), DEFAULT_STYLES[:1]))
    await asyncio.sleep(1.0)
    began = time.monotonic()

    await generator.close()

    assert time.monotonic() - began < 8.0  # reading it all takes 40 seconds and more on one core
    with pytest.raises(GeneratorUnavailable, match="was closed"):
        await reading


async def test_what_llamacpp_opens_besides_answers_nobody_without_the_key(folder):
    import httpx2

    async with closed_afterwards(opened(folder, "llamacpp")) as generator, httpx2.AsyncClient() as client:
        address = generator._server.listening_address
        answers = [
            await client.post(f"{address}/v1/chat/completions", json={"messages": []}),
            await client.get(f"{address}/slots"),
            await client.get(f"{address}/props"),
        ]

    assert address.startswith("http://127.0.0.1:")
    assert [answer.status_code for answer in answers] == [401, 401, 401]


async def test_the_packaged_model_runs_on_llamacpp_without_a_conversion(tmp_path):
    settings = GeneratorSettings(device="cpu", model_dir=tmp_path)

    async with closed_afterwards(create_generator(settings)) as generator:
        assert generator.name == "SmolLM2-135M-Instruct on CPU, llama.cpp"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("least", [0, 4])
async def test_llamacpp_does_not_end_before_the_fewest_sentences(tmp_path, least):
    settings = GeneratorSettings(device="cpu", model_dir=tmp_path, candidates=2)
    styles = [Style(name, "Answer with one word.", 0.5, Shape(least_sentences=least)) for name in ("a", "b")]

    async with closed_afterwards(create_generator(settings)) as generator:
        written = await generator.generate(Context("what's the capital of Australia?"), styles)

    # Without a bound, this message gets one sentence: that is the control.
    assert written and all((len(sentence_ends(one.text)) >= 3) == bool(least) for one in written)


def test_llamacpp_closed_as_soon_as_it_is_open_ends(tmp_path):
    code = (
        "import asyncio, os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from bot.generators.factory import create_generator; from bot.settings import GeneratorSettings\n"
        f"settings = GeneratorSettings(device='cpu', model_dir={str(tmp_path)!r})\n"
        "for _ in range(3): asyncio.run(create_generator(settings).close())\n"
    )

    # In a separate process, because a deadlock holds the GIL. On one CPU the closing thread runs before the
    # worker thread of llama.cpp starts to listen.
    subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(REPO)}, check=True, timeout=120
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (GeneratorSettings(device="cpu"), True),
        (GeneratorSettings(device="cpu", model="mine.gguf"), True),
        (GeneratorSettings(device="cpu", model="owner/name"), False),
        (GeneratorSettings(device="cpu", runtime="transformers"), False),
    ],
)
def test_gguf_models_run_on_llamacpp_unless_told_otherwise(settings, expected):
    assert runs_on_llamacpp(settings) is expected


@pytest.mark.parametrize(
    ("content", "why"), [(None, "expected a GGUF file, found none"), (b"no", "is no GGUF file")]
)
def test_a_gguf_file_that_is_missing_or_damaged_is_refused(tmp_path, content, why):
    path = tmp_path / "mine.gguf"
    if content:
        path.write_bytes(content)

    with pytest.raises(ModelMissing, match=why):
        create_generator(GeneratorSettings(device="cpu", model=str(path)))


async def test_a_real_server_gives_candidates_for_every_style(server_url):
    settings = GeneratorSettings(kind="openai", model="smollm2", base_url=server_url, max_new_tokens=40)

    async with closed_afterwards(OpenAIGenerator(settings, {})) as generator:
        with measured() as lag:
            candidates = await generator.generate(QUESTION, DEFAULT_STYLES)

    assert {candidate.style for candidate in candidates} <= {style.name for style in DEFAULT_STYLES}
    assert len({candidate.text.casefold() for candidate in candidates}) >= 2
    assert lag.held(99) < 50


async def test_a_real_server_answers_a_long_conversation(server_url):
    settings = GeneratorSettings(
        kind="openai", model="smollm2", base_url=server_url, max_new_tokens=16, context_tokens=512
    )
    turns = tuple(Turn("user" if i % 2 else "assistant", f"turn {i} " * 40) for i in range(40))

    async with closed_afterwards(OpenAIGenerator(settings, {})) as generator:
        assert await generator.generate(Context(f"{QUESTION.message} " * 90, turns), DEFAULT_STYLES[:2])


def test_a_hub_that_cannot_be_reached_is_explained(tmp_path):
    code = (
        "from bot.generators.factory import create_generator; from bot.settings import GeneratorSettings\n"
        "from bot.generation import ModelMissing\n"
        "try: create_generator(GeneratorSettings(model='nobody/nothing', device='cpu'))\n"
        "except ModelMissing as exc: print(exc)\n"
    )
    # In offline mode the client fails at once; otherwise it retries for a minute.
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(REPO)}

    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | offline, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert "nobody/nothing is not on this machine, and HF_HUB_OFFLINE forbids to fetch it" in done.stdout
    assert 'or set [generator] model = "packaged"' in done.stdout


async def test_a_damaged_prepared_model_is_refused_by_the_loader(tmp_path):
    (tmp_path / "config.json").write_text("{")

    with pytest.raises(ModelMissing, match=r"config.json is damaged"):
        LocalGenerator.load(tmp_path, GeneratorSettings(device="cpu"))
