"""Renders the prompts of a reply with the tokenizer and the chat template of a transformers model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from bot.generation import Context
from bot.generators.prompt import Message, dialogue, fit, messages_of, with_note, without_system
from bot.generators.role_markers import ModelMarkers
from bot.generators.thinking import opened_thought, template_options


class Renderer:
    """Turns contexts into prompts of one model.

    Args:
        tokenizer: Its tokenizer, with the chat template.
        markers: Its role markers that the table does not hold.
    """

    def __init__(self, tokenizer: Any, markers: ModelMarkers) -> None:
        self._tokenizer = tokenizer
        self._markers = markers

    def prompts(
        self, context: Context, persona: str, notes: Sequence[str], *, budget: int, thoughts: int = 0
    ) -> list[str]:
        """Render one prompt per style, all with the same persona, turns and message.

        Args:
            context: Turns and message.
            persona: Description of the bot.
            notes: Instruction of each style.
            budget: Maximum tokens of a prompt.
            thoughts: Budget for thoughts, tokens; 0: a thought that the template opens is ended.
        """
        longest = max(notes, key=self.count)

        def rendered(messages: Sequence[Message], note: str) -> str:
            noted: list[Message] = with_note(messages, note, self._markers.broken)
            prompt = self._render(noted, thoughts)
            end = None if thoughts else opened_thought(prompt)
            return prompt if end is None else f"{prompt}\n{end}\n\n"

        fitted = fit(context, persona, budget, lambda m: self.count(rendered(m, longest)), self._cut)
        messages = messages_of(persona, fitted, self._markers.broken)
        return [rendered(messages, note) for note in notes]

    def encoded(self, prompts: list[str]) -> list[list[int]]:
        """Return the tokens of each prompt."""
        return self._tokenizer(prompts, add_special_tokens=False)["input_ids"]

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _cut(self, text: str, n_tokens: int) -> str:
        """Return the start of a text, at most ``n_tokens`` long."""
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) <= n_tokens:
            return text
        return self._tokenizer.decode(ids[:n_tokens], skip_special_tokens=True).rstrip("\ufffd")

    def _render(self, messages: Sequence[Message], thoughts: int) -> str:
        """Render messages with the model's chat template, or as plain dialogue when it has none."""
        if not self._tokenizer.chat_template:
            return dialogue(messages)
        try:
            text = self._apply_template(messages, thoughts)
        except TemplateError:  # Gemma and others: "System role not supported", or roles must alternate
            return self._apply_template(without_system(messages), thoughts)
        system = messages[0]["content"] if messages[0]["role"] == "system" else ""
        return text if system in text else self._apply_template(without_system(messages), thoughts)

    def _apply_template(self, messages: Sequence[Message], thoughts: int) -> str:
        options = template_options(str(self._tokenizer.chat_template), thoughts)
        return self._tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, **options
        )
