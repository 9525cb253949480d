"""A member's own words come back in a reply, in a form that hides them; such a reply must be no example.

The reply holds a name or another rare word of the member: inflected, with an article, joined to other words,
in scripts without spaces, in other letters of the same look. Each word is tried as the message, as an earlier
message, as an earlier reply of the bot and as the name of a speaker.

Controls: the first four letters alone, which the rule compared before; and replies without the word, which it
must let through, or it would prove nothing.
"""

from __future__ import annotations

import random

import pytest

from bot.generation import Context, Turn
from bot.moderation import poor_replies
from bot.moderation.poor_replies import quotes
from tests.rig.size import sized

FORMS = (
    ("It is Anna", "Annas!"),
    ("To jest Anna", "Widzę Annę!"),
    ("Ola", "Olę!"),
    ("Оля тут", "Привет Олею"),
    ("Меня зовут Аня", "Аню!"),
    ("I come from Ulm", "Ulmer!"),
    ("I am Bo", "Bo's"),
    ("C'est l'anniversaire d'Anna", "Anna!"),
    ("Chiedi dell'Etna", "Etna!"),
    ("'Rex' is my dog", "Poor Rex."),
    ("Ayşe'ye söyle", "Ayşe!"),
    ("I am José", "Jose!"),
    ("I am Lukasz", "Cześć Łukasz!"),
    ("I am Łukasz", "Lukasz!"),
    ("my brother Soren", "Søren!"),
    ("my brother Bjorn", "Bjørn!"),
    ("Oyvind is here", "Øyvind!"),
    ("Malgosia", "Małgosia!"),
    ("I live in Elk", "Ełk!"),
    ("Duc is my friend", "Đức!"),
    ("I am Thorsteinn", "Þorsteinn!"),
    ("I am Isik", "Işık!"),
    ("Aeon is my cat", "Æon!"),
    ("I am Zoe", "Zoë!"),
    ("my friend Aurelia", "AURELIA!"),
    ("my friend Aurelia", "Au\u200brelia!"),
    ("my friend Aurelia", "\uff21urelia!"),
    ("my friend Aurelia", "**Aurelia**!"),
    ("mary_ann_7", "Ann!"),
    ("我姓李", "李先生"),
    ("我叫田中", "田中君"),
    ("さくらです", "さくらさん"),
    ("わたしはユキ", "ユキさん"),
    ("제 이름은 김민수예요", "민수야"),
    ("암이에요", "암은"),
    ("ผมชื่อสมชาย", "คุณสมชาย"),
    ("ខ្ញុំឈ្មោះសុខា", "សួស្តីសុខា"),
    ("ຂ້ອຍຊື່ຄຳ", "ສະບາຍດີຄຳ"),
    ("ကျွန်တော်ကအောင်", "မောင်အောင်"),
    ("אני גר עם דנה", "לדנה"),
    ("השם שלי רן", "ולרן"),
    ("اسمي أحمد", "لأحمد"),
)


def contexts(said: str) -> list[Context]:
    return [
        Context(said),
        Context("ok", (Turn("user", said),)),
        Context("ok", (Turn("assistant", said),)),
        Context("ok", (Turn("user", f"{said}: ok"),), speaker=said),
    ]


@pytest.mark.parametrize(("said", "reply"), FORMS, ids=[reply for _, reply in FORMS])
def test_no_form_of_a_members_word_goes_through(said, reply):
    assert all(quotes(reply, context) for context in contexts(said))


def test_control_equal_beginnings_of_four_letters_let_forms_through(monkeypatch):
    def four_letters(words, common):
        return {word.partition("'")[0][:4] for word in words if word not in common}

    monkeypatch.setattr(poor_replies, "_stems", four_letters)

    through = [reply for said, reply in FORMS if not quotes(reply, Context(said))]

    assert len(through) > len(FORMS) // 3
    assert {"Widzę Annę!", "민수야", "Jose!", "Poor Rex."} <= set(through)


ENDINGS = ("", "a", "e", "ę", "y", "s", "'s", "owi", "chen", "ová")
AROUND = ("{}", "{}!", "Dear {}.", "l'{}", "({})", "**{}**", '"{}"', "{}, hello")


def test_made_up_names_with_any_ending_are_found():
    """They begin with X, so that none is a common word."""
    rng = random.Random(3)
    for _ in range(sized(ci=300, full=30_000)):
        syllables = (rng.choice("bdfgklmnprtvz") + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))
        name = f"X{''.join(syllables)}"
        said, back = (name + rng.choice(ENDINGS) for _ in range(2))
        reply = rng.choice(AROUND).format(back)

        assert quotes(reply, Context(f"This is {said}")), (said, reply)


@pytest.mark.parametrize("reply", ["Sure, gladly!", "No worries.", "はい", "😀", "Oui !"])
def test_control_a_reply_without_them_may_be_an_example(reply):
    assert not any(quotes(reply, context) for context in contexts("Zdenka"))
