"""Turns a context into the messages of a chat model, within a token budget.

The candidates of a reply share the beginning of their prompts: persona, earlier turns and message. The
instruction of a style stands behind the message (:func:`with_note`), so a cache of prefixes serves all of
them. The earlier turns begin at the same turn for several messages, so it also serves
the next message of the conversation.

Shared by all generators. The transformers generator counts with the model's tokenizer, the others estimate.
Text of members is data: role markers of chat templates are broken up in it, so that no member can write in
the name of the system (:mod:`bot.generators.role_markers`). Pure functions, no model imports.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypedDict

from bot.generation import Context, Turn
from bot.generation.steady import steady_start
from bot.generators.role_markers import defuse

MIN_MESSAGE_TOKENS = 32
"""Minimum part of the message that is kept, however long the persona is, tokens."""

# The blanks before a name hold no line break. With one, a row of breaks would be searched from each of them.
_SPEAKER = re.compile(
    r"(?:^|(?<=[\r\v\f\x85\u2028\u2029]))([^\S\n\r\v\f\x85\u2028\u2029]*+[*_#>\"' ]{0,4})"
    r"(?:S(?=ystem\W{0,3}?[:：])|U(?=ser\W{0,3}?[:：])|A(?=ssistant\W{0,3}?[:：]))",
    re.IGNORECASE | re.MULTILINE,
)


_CONSONANT = "[bcdfghjklmnpqrstvwxz]"
# Three letters of a word, two capitals, or one letter of what is no word (a fourth consonant in a row, a
# letter beside a digit); any other sign; blanks in a row; the blank before another script.
_PIECE = re.compile(
    rf"(?<={_CONSONANT}{{3}}){_CONSONANT}|(?<=[A-Za-z]\d)[A-Za-z]|[a-z](?=[A-Z0-9])|[A-Z]?[a-z]{{1,3}}|[A-Z]{{1,2}}"
    r"|[^A-Za-z \x80-\U0010ffff]| {2,8}| (?=[^\x00-\x7f])"
)
_FREQUENT = re.compile(
    "[\u00c0-\u00ff\u0391-\u03c9\u0400-\u045f\u05d0-\u05ea\u0621-\u063a\u0641-\u064a"  # letters of two bytes
    "\u0900-\u09ff\u0b80-\u0bff\u0e01-\u0e5b\u10a0-\u10ff\u1e00-\u1eff"  # Indic, Thai, Georgian, Vietnamese
    "\u2000-\u206f\u2190-\u22ff\u2500-\u25ff\u3001-\u30ff\u4e00-\u9fff"  # signs, kana, Chinese
    "\U0001f000-\U0001faff]"  # emoji
)


class Message(TypedDict):
    """One message in the form that chat templates and OpenAI-compatible servers take."""

    role: Literal["system", "user", "assistant"]
    content: str


Measure = Callable[[Sequence[Message]], int]
"""Counts the tokens of a whole prompt."""

Cut = Callable[[str, int], str]
"""Returns the longest start of a text with at most that many tokens."""


def messages_of(system: str, context: Context, markers: re.Pattern[str] | None = None) -> list[Message]:
    """Return system prompt, turns and message. Join adjacent messages of one role, as templates require.

    Args:
        system: System prompt. Managers and members wrote parts of it, so markers are broken up in it, too.
        context: Turns and message.
        markers: Role markers of the model that the table does not hold.
    """
    messages: list[Message] = [{"role": "system", "content": defuse(system, markers)}] if system else []
    for turn in (*context.turns, Turn("user", context.said)):
        text = defuse(turn.text, markers)
        if messages and messages[-1]["role"] == turn.role:
            messages[-1]["content"] += f"\n{text}"
        else:
            messages.append({"role": turn.role, "content": text})
    return messages


def with_note(messages: Sequence[Any], instruction: str, markers: re.Pattern[str] | None = None) -> list[Any]:
    """Return the messages with the instruction of a style behind the last one.

    It is a part of that message, because many chat templates allow a system message at the start only.

    Args:
        messages: Messages; the content of the last one may be a list of parts (text, pictures).
        instruction: Instruction of the style, with the member's wish. A member wrote parts of it, so markers
            are broken up in it, too.
        markers: Role markers of the model that the table does not hold.
    """
    if not instruction:
        return list(messages)
    *earlier, last = messages
    note, said = f"({defuse(instruction, markers)})", last["content"]
    if isinstance(said, str):
        content: Any = f"{said}\n\n{note}" if said else note
    else:
        content = [*said, {"type": "text", "text": note}]
    return [*earlier, {**last, "content": content}]


def without_system(messages: Sequence[Message]) -> list[Message]:
    """Fold the system prompt into the first user message, for models that know no system role."""
    if not messages or messages[0]["role"] != "system":
        return list(messages)
    system, *rest = messages
    if rest and rest[0]["role"] == "user":
        return [{"role": "user", "content": f"{system['content']}\n\n{rest[0]['content']}"}, *rest[1:]]
    return [{"role": "user", "content": system["content"]}, *rest]


def dialogue(messages: Sequence[Message]) -> str:
    """Render messages as plain dialogue, for models without a chat template.

    Names at the start of a line mark the roles here, so such names are also broken up in messages.
    """
    lines: list[str] = []
    for message in messages:
        said = message["content"]
        if message["role"] != "system":
            said = _SPEAKER.sub(lambda match: match.group() + " ", said)
        lines.append(f"{message['role'].capitalize()}: {said}")
    return "\n".join([*lines, "Assistant:"])


def fit(context: Context, system: str, budget: int, measure: Measure, cut: Cut) -> Context:
    """Trim a context to a token budget: drop the oldest turns first, then cut the end of the message.

    When turns are dropped, up to half of those that would fit are dropped with them (:func:`steady_start`).

    Args:
        context: The context.
        system: The system prompt.
        budget: Maximum tokens of the whole prompt.
        measure: Counts a prompt; called about log2(turns) times.
        cut: Shortens the message.

    Returns:
        The context, unchanged if it fits. At least :data:`MIN_MESSAGE_TOKENS` of the message are kept, so a
        persona that fills the budget exceeds it by that much.
    """

    def size(n_turns: int) -> int:
        return measure(messages_of(system, replace(context, turns=_latest(context.turns, n_turns))))

    if size(0) > budget:
        return _cut_message(context, system, budget, measure, cut)
    kept, over = 0, len(context.turns) + 1
    while over - kept > 1:
        middle = (kept + over) // 2
        kept, over = (middle, over) if size(middle) <= budget else (kept, middle)
    start = steady_start([turn.text for turn in context.turns], kept)
    return replace(context, turns=context.turns[start:])


def _latest(turns: tuple[Turn, ...], n: int) -> tuple[Turn, ...]:
    return turns[len(turns) - n :]


def _cut_message(context: Context, system: str, budget: int, measure: Measure, cut: Cut) -> Context:
    """Drop all turns and keep as much of the start of the message as fits."""
    room = budget - measure(messages_of(system, replace(context, turns=(), message="")))
    while True:
        room = max(room, MIN_MESSAGE_TOKENS)
        shorter = replace(context, turns=(), message=cut(context.message, room))
        over = measure(messages_of(system, shorter)) - budget
        if over <= 0 or room == MIN_MESSAGE_TOKENS:
            return shorter
        room -= over


def estimate_tokens(text: str) -> int:
    """Estimate tokens without a tokenizer, on the high side for every script and for code.

    A byte outside ASCII is at most one token, and the frequent characters of common scripts take one less
    than they have bytes. ASCII text is counted in the pieces that a small vocabulary makes of it. Measured
    with the tokenizer of SmolLM2 (49,152 tokens), by ``tests/unit/bot/generators/test_token_estimates.py``:
    about twice the tokens of English prose, and 1.0 to 1.6 times those of most other texts.
    """
    n_bytes = len(text.encode(errors="surrogatepass")) - sum(map(str.isascii, text))
    n_pieces = len(_PIECE.findall(text)) + n_bytes - len(_FREQUENT.findall(text))
    return 1 + n_pieces * 6 // 5


def estimate(messages: Sequence[Message]) -> int:
    """Estimate the tokens of a whole prompt, including eight per message for its role."""
    return sum(estimate_tokens(message["content"]) + 8 for message in messages)


def estimated_cut(text: str, n_tokens: int) -> str:
    """Cut a text to an estimated number of tokens."""
    kept, over = 0, len(text) + 1
    while over - kept > 1:
        middle = (kept + over) // 2
        kept, over = (middle, over) if estimate_tokens(text[:middle]) <= n_tokens else (kept, middle)
    return text[:kept]
