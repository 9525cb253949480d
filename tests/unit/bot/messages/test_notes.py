"""The bot recognises its notes by their mark, and older notes by their words."""

from __future__ import annotations

from typing import cast

import discord
import pytest

from bot.languages import LANGUAGES, everywhere, speaking, tr
from bot.messages.conversation import NOTES, is_note, reads_as_note
from bot.messages.earlier_notes import EARLIER_LANGUAGES, EARLIER_NOTES

VALUES = {"limit": 1000, "when": "<t:1790000000:R>"}


class Message:
    """The part of a message that tells a note."""

    def __init__(self, content: str, *, silent: bool = False) -> None:
        self.content, self.flags = content, discord.MessageFlags(suppress_notifications=silent)


def noted(content: str, *, silent: bool = False) -> bool:
    return is_note(cast(discord.Message, Message(content, silent=silent)))


@pytest.mark.parametrize("locale", [None, *(one for one in LANGUAGES if LANGUAGES[one] in EARLIER_LANGUAGES)])
@pytest.mark.parametrize("note", NOTES)
def test_a_note_from_before_the_mark_is_recognised_in_every_language_it_was_posted_in(note, locale):
    with speaking(locale):
        assert noted(tr(note, **VALUES))


def test_an_earlier_wording_is_recognised_and_is_none_of_today():
    assert all(noted(note.format(**VALUES)) for note in EARLIER_NOTES)
    assert not EARLIER_NOTES & everywhere(NOTES)


def test_a_marked_note_is_recognised_in_any_words():
    assert noted("Words of a later version.", silent=True)
    assert not noted("Words of a later version.")


@pytest.mark.parametrize("reply", ["Sure, gladly!", "You called?", "One moment, please: I think about it."])
def test_a_reply_is_no_note(reply):
    assert not reads_as_note(reply)
