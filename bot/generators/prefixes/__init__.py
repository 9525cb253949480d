"""Prompts that share their beginning are read once: by all candidates of a reply, and over its conversation.

:mod:`~bot.generators.prefixes.kept` remembers what a model has read, within bounds.
:mod:`~bot.generators.prefixes.slots` applies it to llama.cpp, and
:mod:`~bot.generators.prefixes.attention` to transformers.
"""
