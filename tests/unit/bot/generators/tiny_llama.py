"""A tiny random Llama with a tokenizer of one token per byte, and a local generator on top of it."""

from __future__ import annotations

import threading

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bot.generation import Context, Style
from bot.generators.local import LocalGenerator
from bot.settings import GeneratorSettings

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + CHATML
)
SILENT_ABOUT_SYSTEM = (
    "{% for m in messages if m['role'] != 'system' %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
)

STYLES = (Style("short", "Be short.", 0.0), Style("long", "Be long and thorough.", 1.5))


class WatchedLlama(LlamaForCausalLM):
    """A real model that records when, on which thread and with what result it generated."""

    def generate(self, *args, **kwargs):
        self.started.set()
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        rows = kwargs["input_ids"]  # if the reading of the prompt is interrupted
        try:
            rows = super().generate(*args, **kwargs)
        finally:
            self.running -= 1
            self.calls.append((threading.current_thread().name, kwargs["input_ids"], rows))
        return rows


def tiny_model() -> WatchedLlama:
    torch.manual_seed(0)
    sizes = dict(vocab_size=260, hidden_size=16, intermediate_size=32, num_hidden_layers=1)
    config = LlamaConfig(
        **sizes,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8192,
        bos_token_id=256,
        eos_token_id=257,
        pad_token_id=257,
    )
    model = WatchedLlama(config)
    model.calls, model.running, model.most_running, model.started = [], 0, 0, threading.Event()
    return model


def byte_tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    """One token per byte, so that budgets can be counted by hand."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {char: i for i, char in enumerate(alphabet)}
    core = Tokenizer(models.BPE(vocabulary, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|im_start|>", eos_token="<|im_end|>", chat_template=template
    )
    assert (len(vocabulary), tokenizer.eos_token_id) == (256, 257)
    return tokenizer


def generator(template: str | None = CHATML, **settings) -> LocalGenerator:
    chosen = GeneratorSettings(**({"persona": "You are kind.", "max_new_tokens": 8} | settings))
    return LocalGenerator(tiny_model(), byte_tokenizer(template), chosen, "Tiny")


def prompts(gen: LocalGenerator, context: Context, styles=STYLES) -> list[str]:
    return gen._prompts(context, styles)
