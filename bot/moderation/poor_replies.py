"""Finds poor replies: loops, echoes, refusals of trivial questions, another language than the message.

Small models write them often. They are dropped before ranking while a better candidate is left, so an honest
reply that looks like one is never the reason for silence. Pure functions, linear in the texts.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from itertools import islice

import regex

from bot.generation import Candidate, Context
from bot.messages.markdown import without_code
from bot.moderation.asked_language import speaks_of_a_language
from bot.moderation.own_words import own_words
from bot.moderation.visible_text import comparable
from personalization.encoding.languages import english, language_of, sure_language_of
from storage.records import FAQ_STYLE

RUN = 5
"""Words of a run; two texts that share one share a phrase."""
FEWEST_WORDS = 20
"""In a shorter text, repeated runs are no sign of a loop."""
REPEATED = 0.3
"""Share of repeated runs from which a text is a loop. Prose has below a tenth."""
ECHOED = 0.5
"""Share of runs from an earlier reply from which a text is an echo."""
QUOTED = 3
"""Words in a row that a reply has in common with the member from which it quotes the member."""
PARROTED = 0.8
"""Share of the message's words, in runs that the message holds, from which a text is the message itself."""

_WORD = regex.compile(r"\p{Han}|\p{Hiragana}|\p{Katakana}|\p{Thai}|[\p{L}\p{M}\p{N}']+")
_STEM = 3
"""Letters at the beginning in which two forms of one word are alike."""
_SHORT = 4
"""In words of at most so many letters two are alike: Ola, Olę."""
_JOINED = regex.compile(r"[\p{Hangul}\p{Khmer}\p{Lao}\p{Myanmar}\p{Tibetan}]")
"""Scripts in which endings or whole words follow without a space. Each sign is compared."""
_PREFIXED = regex.compile(r"[\p{Arabic}\p{Hebrew}]")
_MOST_PREFIXED = 3
"""Letters that may be written in front of a word in these scripts ("and to the ...")."""
_PLAIN_LETTERS = str.maketrans(
    {
        "ł": "l",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "ŧ": "t",
        "ı": "i",
        "æ": "ae",
        "œ": "oe",
        "ß": "ss",
        "þ": "th",
    }
)
"""Letters that people without the keyboard write otherwise, and that Unicode does not take apart."""
_REFUSAL = regex.compile(
    r"\b(?:as|i'?m|i am)(?: just| only)? an? "
    r"(?:ai|artificial intelligence|(?:large )?language model|chatbot|virtual assistant|smollm)\b"
    r"|\bals (?:eine )?(?:ki|künstliche intelligenz|sprachmodell)\b"
    r"|\ben tant qu'?(?:ia|e mod[eè]le|intelligence artificielle)"
    r"|\bcomo (?:una? )?(?:ia|intelig[eê]ncia artificial|modelo de (?:lenguaje|linguagem))\b"
)
_ABOUT_ITSELF = regex.compile(
    r"\b(?:ai|ais|bots?|chatbots?|robots?|humans?|humanos?|persons?|people|machines?|programs?|alive|real|conscious\w*|sentient|feel\w*"
    r"|ki|mensch\w*|roboter|maschine\w*|programm\w*|echt\w*|gefühl\w*|ia|humain\w*|personne|vraie?|vivante?|machine"
    r"|humana|persona|pessoa|máquina|robô|sentim\w*|sientes|umano|umana|macchina|intelligen\w*|inteligen\w*|sztuczn\w*|człowiek\w*"
    r"|are you|who are|what are you|wer bist|was bist|qui es|quién eres|quem é|chi sei|kim jesteś)\b"
    r"|人工|机器人|真人|人类|人間|ロボット|인공|로봇|사람"
)
"""A message that may ask what the bot is: then it is honest to say that it is a program."""
_BEGINNING = 200
"""Characters in which a refusal is looked for."""

_FILE = regex.compile(r"\n\n[^\n]{1,200}\.\w{1,8}:\n")
"""Where a text file begins in a message (``bot.messages.attachments.FILE``)."""
_SCRIPTS = {
    name: regex.compile(rf"\p{{{name}}}")
    for name in ("Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Thai", "Hangul", "Han")
}
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")


def without_poor(
    candidates: Sequence[Candidate],
    context: Context,
    told: Iterable[str] = (),
    examples: Sequence[str] = (),
) -> list[Candidate]:
    """Return the candidates that are not poor; if every one is, those that copy no example, or else all.

    Arguments of :func:`good_of`.
    """
    good = good_of(candidates, context, told, examples)
    return good or [one for one in candidates if not copies(one.text, examples)] or list(candidates)


def good_of(
    candidates: Sequence[Candidate],
    context: Context,
    told: Iterable[str] = (),
    examples: Sequence[str] = (),
) -> list[Candidate]:
    """Return the candidates that are not poor.

    Args:
        candidates: The candidates; answers of ``/faq``, which a person wrote, are never poor.
        context: The message and the turns before it.
        told: Further texts that may ask for a language: persona, wishes.
        examples: Earlier replies that the prompt showed as examples of tone.
    """
    said = [context.message, *(turn.text for turn in context.turns if turn.role == "user")]
    any_language = any(map(speaks_of_a_language, [*said, context.persona or "", *told]))
    return [
        one
        for one in candidates
        if one.style == FAQ_STYLE
        or not (is_poor(one.text, context, any_language=any_language) or copies(one.text, examples))
    ]


def is_poor(text: str, context: Context, *, any_language: bool = False) -> bool:
    """Return whether a reply is a loop, an echo, a refusal as an AI, or in another language.

    Args:
        text: The reply.
        context: The message and the turns before it.
        any_language: Whether the reply may be in another language than the message.
    """
    prose = comparable(without_code(text))
    words = _WORD.findall(prose)
    return (
        _repeats_itself(words)
        or _echoes(words, context)
        or (
            _REFUSAL.search(prose[:_BEGINNING]) is not None
            and not _ABOUT_ITSELF.search(comparable(context.message))
        )
        or (not any_language and _in_another_language(prose, context.message))
    )


def copies(text: str, examples: Sequence[str]) -> bool:
    """Return whether a reply repeats examples for the most part, by runs of words or as a whole.

    A reply without words is a copy if it is the same.
    """
    words = _WORD.findall(comparable(text))
    if not words:
        return comparable(text) in map(comparable, examples)
    shown = [found for found in (_WORD.findall(comparable(example)) for example in examples) if found]
    whole = sum(_spaced(words).count(_spaced(example)) * len(example) for example in shown)
    return whole / len(words) > ECHOED or _repeats_runs(words, shown)


def _spaced(words: Iterable[str]) -> str:
    return "".join(f" {word} " for word in words)


def quotes(text: str, context: Context) -> bool:
    """Return whether a reply may repeat words of a person: some in a row, a number, or any rarer word.

    The common words of its language are no quotation alone. All other words of the
    conversation are, names in any case and script among them, so few replies to the point are free of them.
    Earlier replies count, too, because they may hold what was said before them. What a picture shows is not
    known, so every reply to one counts.
    """
    if context.pictures:
        return True
    said = [context.said, *(turn.text for turn in context.turns)]
    words = _WORD.findall(comparable(text))
    theirs = [_WORD.findall(comparable(one)) for one in said]
    if any(set(_runs(words, QUOTED)) & set(_runs(other, QUOTED)) for other in theirs):
        return True
    both = (text, "\n".join(said))
    if all(any(char.isdigit() for char in one) for one in both):
        return True
    common = (language_of(text) or english()).known
    own, every = (_stems(one, common) for one in (words, itertools.chain(*theirs)))
    return words in theirs or not own.isdisjoint(every)


def _stems(words: Iterable[str], common: Container[str]) -> set[str]:
    """Return the beginnings of all words that are not common, so that other forms of a word are the same.

    Words that are joined by an apostrophe count alone; single letters beside one, such as an ending, do not.
    """
    rare = {word for word in words if word not in common}
    parts = {part for word in rare for part in word.split("'") if len(part) > 1 or part == word}
    return {stem for part in parts if part not in common for stem in _stems_of(_without_accents(part))}


def _stems_of(word: str) -> Iterable[str]:
    if _JOINED.search(word):
        return word
    n_begins = 1 + _MOST_PREFIXED if _PREFIXED.search(word) else 1
    begins = [word, *(word[n:] for n in range(1, n_begins) if len(word) - n > 1)]
    return {one[:length] for one in begins for length in (_STEM, 2 if len(one) <= _SHORT else _STEM)}


def _without_accents(word: str) -> str:
    word = word.translate(_PLAIN_LETTERS)  # Unicode does not take these apart
    plain = "".join(char for char in unicodedata.normalize("NFD", word) if not unicodedata.combining(char))
    return unicodedata.normalize("NFC", plain) or word


def _repeats_runs(words: Sequence[str], others: Iterable[Sequence[str]]) -> bool:
    """Return whether most runs of a text are in one of the other texts."""
    runs, known = _runs(words), {run for other in others for run in _runs(other)}
    return bool(runs) and sum(run in known for run in runs) / len(runs) > ECHOED


def _runs(words: Sequence[str], length: int = RUN) -> list[tuple[str, ...]]:
    return list(zip(*(islice(words, start, None) for start in range(length)), strict=False))


def _repeats_itself(words: Sequence[str]) -> bool:
    runs = _runs(words) if len(words) >= FEWEST_WORDS else []
    return bool(runs) and 1 - len(set(runs)) / len(runs) > REPEATED


def _echoes(words: Sequence[str], context: Context) -> bool:
    """Return whether a text repeats an earlier reply for the most part, or the message as a whole.

    A part of the message is no echo: a member may ask for it ("say that again: ...").
    """
    runs = _runs(words)
    if not runs:
        return False
    said = (turn.text for turn in context.turns if turn.role == "assistant")
    if _repeats_runs(words, (_WORD.findall(comparable(text)) for text in said)):
        return True
    asked = _WORD.findall(comparable(context.message))
    own = set(_runs(asked))
    shared = sum(run in own for run in runs)
    return shared / len(runs) > PARROTED and len(words) > PARROTED * len(asked)


def _in_another_language(prose: str, message: str) -> bool:
    """Return whether both languages are known and differ; that of the member's own words counts.

    Code, quotations and text files in a message may be in any language.
    """
    without_files = _FILE.split(f"\n\n{message}", maxsplit=1)[0]
    asked = comparable(own_words(without_files, single_quotes=True))
    there, here = _script_of(asked), _script_of(prose)
    if there and here and there != here:
        return (there, here) != ("Han", "Japanese")  # a few Chinese signs may be a Japanese message
    wanted, found = sure_language_of(asked), sure_language_of(prose)
    return wanted is not None and found is not None and wanted != found


def _script_of(text: str) -> str | None:
    """Return the script of at least four fifths of the letters of a text that has at least six."""
    counts = Counter({name: len(script.findall(text)) for name, script in _SCRIPTS.items()})
    counts["Japanese"] = len(_KANA.findall(text))
    if counts["Japanese"]:
        counts["Japanese"] += counts.pop("Han")
    (script, most), total = counts.most_common(1)[0], sum(counts.values())
    return script if total >= 6 and most >= 0.8 * total else None
