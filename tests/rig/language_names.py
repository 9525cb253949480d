"""``python -m tests.rig.language_names``: writes the names of languages that the bot recognises, from CLDR.

The bot reads the file instead of CLDR (through babel), which takes 16 MB of memory.
``tests/unit/bot/moderation/test_asked_language.py`` fails when the file differs from what babel says.
"""

from __future__ import annotations

import json

from babel import Locale

from bot.moderation.asked_language import LANGUAGE_NAMES
from bot.moderation.visible_text import comparable

SPOKEN = "en de fr es pt it pl nl zh ja ko ru uk".split()
"""Languages in which the names are written."""
NAMED = [
    *SPOKEN,
    *"ar bg bn ca cs da el et eu fa fi ga he hi hr hu id is ka la lt lv ms nb ro sk sl sq sr sv".split(),
    *"sw ta th tl tr ur vi".split(),
]


def names() -> str:
    """Return the content of the file."""
    locales = [Locale.parse(spoken) for spoken in SPOKEN]
    lines = ["# Names of languages. Written by `python -m tests.rig.language_names` from CLDR."]
    for code in NAMED:
        found = dict.fromkeys(comparable(locale.languages.get(code, "")) for locale in locales)
        lines.append(f"{code} = {json.dumps([name for name in found if name], ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    LANGUAGE_NAMES.write_text(names(), encoding="utf-8")
