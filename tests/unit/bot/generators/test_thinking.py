"""Thinking models on all three runtimes: asked not to think, or given a budget; thoughts never show."""

from __future__ import annotations

import pytest
import torch

from bot.generation import Candidate, Context, OnlyThoughts
from bot.generators.llamacpp import LlamaCppGenerator
from bot.generators.local import LocalGenerator
from bot.generators.sampling import readable
from bot.generators.thinking import NO_THOUGHT, opened_thought, opens_thought, template_options
from bot.settings import GeneratorSettings
from tests.unit.bot.generators.scripted_server import STYLES
from tests.unit.bot.generators.tiny_llama import CHATML, byte_tokenizer, tiny_model

ASKS = "{% if add_generation_prompt %}<|im_start|>assistant\n"
BODY = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}" + ASKS
TEMPLATES = {
    "Qwen": BODY + "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
    "DeepSeek 3.1": BODY + "{% if thinking %}<think>{% else %}</think>{% endif %}{% endif %}",
    "R1, QwQ": BODY + "<think>\n{% endif %}",
    "Magistral": BODY + "[THINK]{% endif %}",
    "Command A": BODY + "<|START_THINKING|>{% endif %}",
}
QUESTION = Context("What is the capital of France?")
THOUGHT = "The canary asks about France"


# ---- in words of each runtime ----


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("budget", [0, 64])
def test_a_template_tells_whether_it_begins_a_thought(family, budget):
    opened = opens_thought(TEMPLATES[family], template_options(TEMPLATES[family], budget))

    always = family not in ("Qwen", "DeepSeek 3.1")
    assert opened is (always or (family == "DeepSeek 3.1" and budget > 0))


@pytest.mark.parametrize("template", ["", CHATML, "{{ broken", "{{ raise_exception('no') }}", "{{ x.y.z }}"])
def test_other_templates_begin_none(template):
    assert opens_thought(template, {}) is False


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("<think>\n", "</think>"),
        ("[THINK]", "[/THINK]"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<seed:think>", "</seed:think>"),
        ("<|inner_prefix|>", "<|inner_suffix|>"),
        ("<think>\n\n</think>\n\n", None),
        ("assistant\n", None),
        ("<answer>", None),
    ],
)
def test_the_end_of_an_opened_thought_is_known(begin, end):
    assert opened_thought(f"<|im_start|>assistant\n{begin}") == end


def test_templates_are_asked_in_the_words_of_each_family():
    assert template_options("", 0) == {
        "enable_thinking": False,
        "thinking": False,
        "thinking_budget": 0,
        "reasoning_effort": "none",
    }
    assert template_options("<|channel|>", 0)["reasoning_effort"] == "low"  # gpt-oss cannot do without
    assert template_options("", 64) == {"enable_thinking": True, "thinking": True, "thinking_budget": 64}


# ---- transformers ----


class Scripted:
    """A model that writes given texts, through the processors and criteria of a real generation."""

    def __init__(self, tokenizer, *texts: str, ends: bool = True) -> None:
        self._rows = [tokenizer.encode(text, add_special_tokens=False) + [257] * ends for text in texts]
        real = tiny_model()
        self.device, self.dtype = real.device, real.dtype
        self.config, self.generation_config = real.config, real.generation_config
        self.prompts: list[str] = []
        self._tokenizer = tokenizer

    _is_stateful = True  # so each prompt is read as a whole

    def eval(self):
        return self

    def modules(self):
        return iter(())

    def register_forward_hook(self, hook):
        return torch.nn.Identity().register_forward_hook(hook)

    def generate(self, input_ids, *, max_new_tokens, logits_processor, stopping_criteria, **_):
        self.prompts = self._tokenizer.batch_decode(input_ids)
        forced, n_prompt = logits_processor[-1:], input_ids.shape[1]
        done = torch.zeros(len(input_ids), dtype=torch.bool)
        written = [list(row) for row in self._rows[: len(input_ids)]]
        while input_ids.shape[1] - n_prompt < max_new_tokens and not done.all():
            scores = torch.full((len(input_ids), 260), -50.0)
            scores[range(len(written)), [row[0] if row else 65 for row in written]] = 0.0
            token = forced[0](input_ids, scores).argmax(-1) if forced else scores.argmax(-1)
            for row, one in zip(written, token.tolist(), strict=True):
                if row and row[0] == one:
                    row.pop(0)
            token = torch.where(done, 257, token)
            input_ids = torch.cat([input_ids, token[:, None]], dim=1)
            done |= (token == 257) | torch.stack([one(input_ids, None) for one in stopping_criteria]).any(0)
        return input_ids


def local(template: str, *texts: str, ends: bool = True, **settings) -> LocalGenerator:
    tokenizer = byte_tokenizer(template)
    chosen = GeneratorSettings(**({"persona": "You are kind.", "max_new_tokens": 24} | settings))
    return LocalGenerator(Scripted(tokenizer, *texts, ends=ends), tokenizer, chosen, "Tiny")


@pytest.mark.parametrize("family", TEMPLATES)
async def test_without_a_budget_a_template_begins_no_thought(family):
    gen = local(TEMPLATES[family], "Paris.")

    assert await gen.generate(QUESTION, STYLES[:1]) == [Candidate("Paris.", "short")]
    assert opened_thought(gen._model.prompts[0]) is None
    await gen.close()


@pytest.mark.parametrize(("begin", "end"), [("<think>\n", "</think>"), ("[THINK]", "[/THINK]")])
async def test_thoughts_have_a_budget_apart_from_the_answer(begin, end):
    template = BODY + begin + "{% endif %}"
    long = f"{THOUGHT}. " * 20
    gen = local(
        template, f"{THOUGHT}\n{end}\n\nIt is Paris.", f"{long}{end}", max_new_tokens=24, thinking_tokens=64
    )

    first, second = await gen.generate(QUESTION, STYLES)

    assert first == Candidate("It is Paris.", "short")
    assert "canary" not in first.text  # the second went on with its thought as if it were the answer
    assert 0 < len(second.text) <= 24 + 8
    await gen.close()


async def test_an_answer_behind_a_short_thought_is_no_longer_than_it_may_be():
    gen = local(CHATML, "<think>hm</think>" + "Paris is nice. " * 20, max_new_tokens=48, thinking_tokens=400)

    (only,) = await gen.generate(QUESTION, STYLES[:1])

    assert len(only.text) <= 48 + 8
    await gen.close()


async def test_only_thoughts_are_told_apart_from_silence():
    gen = local(CHATML, "<think>The canary", ends=False, max_new_tokens=8)

    with pytest.raises(OnlyThoughts, match=r"only thought and gave no answer; raise .* thinking_tokens"):
        await gen.generate(QUESTION, STYLES[:1])
    await gen.close()


def test_marks_that_are_special_tokens_are_read():
    tokenizer = byte_tokenizer(CHATML)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]", "<|pad|>"]})
    row = torch.tensor(tokenizer.encode("[THINK]hm[/THINK]Hi<|pad|><|im_end|>", add_special_tokens=False))

    assert readable(tokenizer, row) == "[THINK]hm[/THINK]Hi"


# ---- llama.cpp ----


class ScriptedLlama:
    """Answers requests of the in-process llama.cpp with given deltas."""

    def __init__(self, *deltas: dict[str, str], finish: str = "stop") -> None:
        self.requests: list[dict] = []
        self._deltas, self._finish = deltas, finish

    def handle_chat_completions(self, request, take) -> None:
        self.requests.append(request)
        for delta in self._deltas:
            take({"choices": [{"delta": delta}]})
        take({"choices": [{"delta": {}, "finish_reason": self._finish}]})


def llama(server: ScriptedLlama, template: str = "", **settings) -> LlamaCppGenerator:
    chosen = GeneratorSettings(persona="You are kind.", max_new_tokens=24, **settings)
    return LlamaCppGenerator(server, chosen, "Tiny", template=template)


@pytest.mark.parametrize("family", TEMPLATES)
async def test_llamacpp_is_asked_not_to_think(family):
    server = ScriptedLlama({"content": "Paris."})
    gen = llama(server, TEMPLATES[family])

    assert await gen.generate(QUESTION, STYLES[:1]) == [Candidate("Paris.", "short")]
    _, request = server.requests
    always = family not in ("Qwen", "DeepSeek 3.1")
    assert request["chat_template_kwargs"]["enable_thinking"] is False
    assert (request["max_tokens"], request["thinking_budget_tokens"]) == (24, 0)
    assert (request["messages"][-1]["content"] == NO_THOUGHT) is always
    await gen.close()


async def test_llamacpp_gets_the_budget_and_thoughts_in_either_field_are_taken_out():
    for delta in (
        {"content": f"{THOUGHT}</think>Paris."},
        {"content": "Paris.", "reasoning_content": THOUGHT},
    ):
        server = ScriptedLlama(delta)
        gen = llama(server, TEMPLATES["R1, QwQ"], thinking_tokens=100)

        assert await gen.generate(QUESTION, STYLES[:1]) == [Candidate("Paris.", "short")]
        assert server.requests[1]["max_tokens"] == 124
        assert server.requests[1]["messages"][-1]["role"] == "user"
        await gen.close()


@pytest.mark.parametrize("delta", [{"content": THOUGHT}, {"reasoning_content": THOUGHT}])
async def test_llamacpp_that_only_thinks_says_so(delta):
    gen = llama(ScriptedLlama(delta, finish="length"), TEMPLATES["R1, QwQ"], thinking_tokens=100)

    with pytest.raises(OnlyThoughts):
        await gen.generate(QUESTION, STYLES[:1])
    await gen.close()


async def test_llamacpp_goes_on_with_a_draft_without_thinking():
    server = ScriptedLlama({"content": " is Paris."})
    gen = llama(server, TEMPLATES["R1, QwQ"], thinking_tokens=100, draft_tokens=8)

    texts = [text async for text in gen.continued(QUESTION, STYLES[0], "It")]

    assert texts[-1] == "It is Paris."
    assert server.requests[1]["max_tokens"] == 16
    assert server.requests[1]["chat_template_kwargs"]["enable_thinking"] is False
    await gen.close()
