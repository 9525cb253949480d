"""``make bench-chat``: times a reply part by part, and compares the generator with its peers.

It compares tokens per second of the embedded default with the same model on bare llama.cpp, on CTranslate2
(if installed: ``pip install --no-deps ctranslate2``) and on transformers. All get the same four prompts and
the same number of threads, alternating in one run. Ratios are medians over the rounds. Last, it measures what
further candidates and the next message of a conversation cost where prompts share their beginning.
``docs/benchmarks.md`` has the recorded results.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import xllamacpp
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.generation import CandidateGenerator, Context, Turn
from bot.generators.cleaning import Written
from bot.generators.llamacpp import LlamaCppGenerator
from bot.generators.local import LocalGenerator
from bot.generators.model_files import prepare_generator_model, prepare_gguf
from bot.generators.openai_server import OpenAIGenerator
from bot.generators.prompt import messages_of, with_note
from bot.replies.decision import Prompt
from bot.settings import DEFAULT_STYLES, GeneratorSettings
from personalization.devices import half_of_cores
from personalization.encoding.loading import load_encoder
from storage.records import Who
from tests.benchmarks.bench import MESSAGE, Row, house, print_rows

Peer = Callable[[], Awaitable[int]]
"""Generates the four replies once and returns their number of tokens."""


async def bench_reply(times: int) -> list[Row]:
    """Time a reply with the embedded language model, in total and part by part."""
    async with house(load_encoder("packaged", "cpu")) as opened:
        prompt = Prompt(Who(1, 1), Context(MESSAGE))
        laps: list[dict[str, float]] = []
        for lap in range(times + 1):
            decision = await opened.parts.responder.decide(prompt)
            if lap:  # the first lap warms up
                laps.append(dict(decision.seconds))
        name = opened.generator.name
    parts = {part: statistics.median(lap[part] for lap in laps) for part in laps[0]}
    total = statistics.median(sum(lap.values()) for lap in laps)
    rows = [Row("message to reply", f"{total:.2f} s", f"4 candidates, {name}")]
    return rows + [Row(f"... {part}", f"{seconds * 1e3:,.1f} ms") for part, seconds in parts.items()]


class Bench:
    """The packaged model and the four prompts; each method loads the model in one peer."""

    def __init__(self, folder: Path, n_tokens: int) -> None:
        self._settings = GeneratorSettings(max_new_tokens=n_tokens, device="cpu", model_dir=folder / "models")
        self._folder = folder
        self._gguf = prepare_gguf(self._settings, progress=True)
        self._unpacked = prepare_generator_model(self._settings, progress=True)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(self._unpacked, padding_side="left")
        self._chats = [
            with_note(messages_of(self._settings.persona, Context(MESSAGE)), style.instruction)
            for style in DEFAULT_STYLES
        ]
        self._prompts: list[str] = [
            self._tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=True)
            for chat in self._chats
        ]

    def simpatico(self) -> Peer:
        """The embedded default, called as the bot calls it; tokens are counted before the text is cleaned."""
        generator = LlamaCppGenerator.load(self._gguf, self._settings, n_threads=half_of_cores())
        write, written = generator._write, list[Written]()

        def counted(*given: Any) -> Written:
            written.append(write(*given))
            return written[-1]

        generator._write = counted  # type: ignore[method-assign]

        async def run() -> int:
            written.clear()
            await generator.generate(Context(MESSAGE), DEFAULT_STYLES)
            return sum(self._n_tokens(one.text) for one in written)

        return run

    def llamacpp(self) -> Peer:
        """Bare llama.cpp with four slots."""
        params: Any = xllamacpp.CommonParams()  # type: ignore[attr-defined]
        params.model.path, params.verbosity = str(self._gguf), -1
        params.hostnames, params.port = ["127.0.0.1"], 0
        params.n_parallel, params.n_ctx = 4, 4 * 1184
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = half_of_cores()
        server: Any = xllamacpp.Server(params)  # type: ignore[attr-defined]
        pool = ThreadPoolExecutor(4)

        def ask(i: int) -> int:
            request = {"messages": self._chats[i], "max_tokens": self._settings.max_new_tokens}
            sampling = {"temperature": DEFAULT_STYLES[i].temperature, "top_p": 0.9, "min_p": 0.1}
            return server.handle_chat_completions(request | sampling)["usage"]["completion_tokens"]

        async def run() -> int:
            return sum(await asyncio.to_thread(lambda: list(pool.map(ask, range(4)))))

        return run

    def transformers(self) -> Peer:
        """One call of ``generate`` with four rows."""
        model: Any = AutoModelForCausalLM.from_pretrained(self._unpacked, dtype="auto").eval()
        inputs = self._tokenizer(self._prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        start, end = inputs["input_ids"].shape[1], self._tokenizer.eos_token_id

        def write() -> int:
            torch.set_num_threads(half_of_cores())
            with torch.inference_mode():
                rows = model.generate(
                    **inputs, do_sample=True, top_p=0.9, max_new_tokens=self._settings.max_new_tokens
                )
            return int((rows[:, start:] != end).sum())

        return lambda: asyncio.to_thread(write)

    def ctranslate2(self) -> Peer:
        """One call with four prompts, in int8."""
        import ctranslate2

        folder = self._folder / "ctranslate2"
        converter = ctranslate2.converters.TransformersConverter(str(self._unpacked), low_cpu_mem_usage=False)
        converter.convert(str(folder), quantization="int8")
        generator = ctranslate2.Generator(str(folder), compute_type="int8", intra_threads=half_of_cores())
        tokens = [
            self._tokenizer.convert_ids_to_tokens(self._tokenizer.encode(p, add_special_tokens=False))
            for p in self._prompts
        ]

        def write() -> int:
            results = generator.generate_batch(
                tokens,
                max_length=self._settings.max_new_tokens,
                sampling_topp=0.9,
                sampling_topk=0,
                include_prompt_in_result=False,
            )
            return sum(len(result.sequences_ids[0]) for result in results)

        return lambda: asyncio.to_thread(write)

    def _n_tokens(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])


async def bench_peers(n_rounds: int, n_tokens: int) -> list[Row]:
    """Measure tokens per second of each peer; all take turns in every round."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), n_tokens)
        peers = {"simpatico": bench.simpatico(), "llama.cpp": bench.llamacpp()}
        if importlib.util.find_spec("ctranslate2") is not None:
            peers["CTranslate2 int8"] = bench.ctranslate2()
        peers["transformers bfloat16"] = bench.transformers()
        speeds: dict[str, list[float]] = {name: [] for name in peers}
        for lap in range(n_rounds + 1):
            for name, run in peers.items():
                start = time.perf_counter()
                n = await run()
                if lap:
                    speeds[name].append(n / (time.perf_counter() - start))
    ours = speeds["simpatico"]
    rows = []
    for name, theirs in speeds.items():
        ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        rows.append(
            Row(f"tokens per second: {name}", f"{statistics.median(theirs):,.0f}", f"{ratio:.2f} x ours")
        )
    return rows


def conversation(seed: str, n_turns: int = 18) -> Context:
    """Return a conversation of about 50 tokens for each turn, which no other seed shares."""
    said = (
        "We walked along the old harbour, looked at the boats, and then had soup and bread at the corner. "
        * 2
    )
    turns = tuple(Turn("assistant" if i % 2 else "user", f"{seed} {i}. {said}") for i in range(n_turns))
    return Context("And what did we do after that?", turns)


async def bench_sharing(name: str, generator: CandidateGenerator, n_rounds: int) -> list[Row]:
    """Measure what further candidates and the next message of a conversation cost, beside one candidate.

    The ratios are of processor time, which other work on the machine changes least.
    """

    async def seconds(context: Context, k: int) -> float:
        start = time.process_time()
        await generator.generate(context, DEFAULT_STYLES[:k])
        return time.process_time() - start

    laps: list[tuple[float, float, float]] = []
    for lap in range(n_rounds + 1):
        one = await seconds(conversation(f"One {lap}"), 1)
        first = conversation(f"Four {lap}")
        four = await seconds(first, 4)
        answered = (Turn("user", first.message), Turn("assistant", "We took the ferry home and slept."))
        later = await seconds(Context("Was it late?", (*first.turns, *answered)), 4)
        if lap:  # the first lap warms up
            laps.append((one, four, later))
    k_ratio = statistics.median(four / one for one, four, _ in laps)
    turn_ratio = statistics.median(later / four for _, four, later in laps)
    one, four, later = (statistics.median(column) for column in zip(*laps, strict=True))
    return [
        Row(f"{name}: four candidates", f"{four:.1f} s", f"{k_ratio:.2f} x one ({one:.1f} s); bar 1.5"),
        Row(f"{name}: next message", f"{later:.1f} s", f"{turn_ratio:.2f} x the first; bar 0.4"),
    ]


async def bench_prefixes(n_rounds: int) -> list[Row]:
    """Compare on each path, with about 900 tokens of history and up to 8 tokens for each candidate."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = GeneratorSettings(
            max_new_tokens=8, context_tokens=4096, device="cpu", model_dir=Path(folder), model="packaged"
        )
        gguf = prepare_gguf(chosen, progress=False)
        local = LlamaCppGenerator.load(gguf, chosen, n_threads=half_of_cores())
        rows = await bench_sharing("llama.cpp in process", local, n_rounds)
        await local.close()
        params: Any = xllamacpp.CommonParams()  # type: ignore[attr-defined]
        params.model.path, params.verbosity = str(gguf), -1
        params.hostnames, params.port, params.n_parallel, params.n_ctx = ["127.0.0.1"], 0, 4, 4 * 2048
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = half_of_cores()
        server: Any = xllamacpp.Server(params)  # type: ignore[attr-defined]
        address = f"{server.listening_address}/v1"
        remote = OpenAIGenerator(replace(chosen, kind="openai", model="any", base_url=address, timeout_s=600))
        rows += await bench_sharing("llama.cpp server", remote, n_rounds)
        await remote.close()
        del server
        unpacked = LocalGenerator.load(prepare_generator_model(chosen, progress=False), chosen)
        rows += await bench_sharing("transformers", unpacked, n_rounds)
        await unpacked.close()
    return rows


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replies", type=int, default=5, help="replies to time part by part")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, in which every peer generates once")
    parser.add_argument("--conversations", type=int, default=3, help="rounds of shared prompts")
    parser.add_argument("--tokens", type=int, default=60, help="most tokens of a candidate")
    arguments = parser.parse_args()
    print_rows(
        [
            *(await bench_reply(arguments.replies) if arguments.replies else []),
            *(await bench_peers(arguments.rounds, arguments.tokens) if arguments.rounds else []),
            *(await bench_prefixes(arguments.conversations) if arguments.conversations else []),
        ]
    )


if __name__ == "__main__":
    asyncio.run(main())
