"""A member's own words in a message, without code, quotations and addresses.

What a member quotes says nothing of how they feel (:mod:`bot.distress.reading`) and may be in any language
(:mod:`bot.moderation.poor_replies`). Pure functions, linear in the text.
"""

from __future__ import annotations

import re2
import regex

_CODE = re2.compile(r"(?s)```.*?(?:```|\z)|`[^`\n]*`")
_NO_WORDS = re2.compile(r"(?m)^\s*>.*$|https?://\S+|<a?:\w+:\d+>|<[@#][!&]?\d+>")
_QUOTED = re2.compile(
    r'"[^"\n]*"|“[^”\n]*”|„[^“”"\n]*[“”"]|«[^»\n]*»|「[^」\n]*」|『[^』\n]*』|《[^》\n]*》|〈[^〉\n]*〉'
)
_QUOTED_ONCE = regex.compile(r"(?<!\w)(?:'[^'\n]{1,500}'(?!\w)|‘[^’\n]{1,500}’)")
_LEAST_LEFT = 4
"""Letters that must be left when quotes are removed; a message that is one quote is read with it."""


def own_words(text: str, *, single_quotes: bool = False) -> str:
    """Return a message without code, quoted lines and quoted words: what its author says.

    Args:
        text: The message.
        single_quotes: Whether single quotation marks quote as well. They may be apostrophes, so leave it out
            where it is worse to miss own words.
    """
    text = text.encode("utf-8", "replace").decode()  # half a character
    text = re2.sub(_NO_WORDS, " ", re2.sub(_CODE, " ", text))
    unquoted = re2.sub(_QUOTED, " ", text)
    if single_quotes:
        unquoted = _QUOTED_ONCE.sub(" ", unquoted)
    left = sum(char.isalpha() for char in unquoted)
    return unquoted if left >= _LEAST_LEFT else text
