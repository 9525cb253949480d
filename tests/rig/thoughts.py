"""How model families write their thoughts: pairs of marks, and whole outputs."""

from __future__ import annotations

PAIRS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<Thought>", "</Thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("[THINK]", "[/THINK]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<|think|>", "<|/think|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|thinking_start|>", "<|thinking_end|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<unused94>thought\n", "<unused95>"),
    ("Here is my thought process:\n", "\nHere is my response:\n"),
)
CHANNELS = (
    "<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant<|channel|>final<|message|>{answer}<|return|>",
    "<|start|>assistant<|channel|>analysis<|message|>{thought}<|end|>"
    "<|start|>assistant<|channel|>final <|constrain|>json<|message|>{answer}",
    "analysis<|message|>{thought}<|end|>"
    "<|start|>assistant<|channel|>commentary to=functions.x<|message|>{thought}"
    "<|call|><|start|>assistant<|channel|>final<|message|>{answer}<|return|>",
)
BARE = (
    "analysis{thought}assistantfinal{answer}",
    "analysis{thought}assistantcommentary{thought}assistantfinal{answer}",
)
FAMILIES = (*(f"{begin}{{thought}}{end}\n{{answer}}" for begin, end in PAIRS), *CHANNELS, *BARE)
