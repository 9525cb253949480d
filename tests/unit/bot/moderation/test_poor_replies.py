"""Poor replies are dropped while a better one is left."""

from __future__ import annotations

import pytest

from bot.generation import Candidate, Context, Picture, Turn
from bot.moderation.poor_replies import copies, is_poor, quotes, without_poor
from storage.records import FAQ_STYLE

HELLO = Context("how do I boil an egg?")
SOUP = "Fry an onion, add two carrots and a cup of red lentils, and let it simmer for twenty minutes."
PARAGRAPH = "You can boil an egg by putting it in a pot of water for {n} minutes, then cool it down at once."

POOR = {
    "near-identical paragraphs": (HELLO, "\n\n".join(PARAGRAPH.format(n=n) for n in (7, 8, 9, 10))),
    "an echo": (Context("and then?", (Turn("user", "soup?"), Turn("assistant", SOUP))), SOUP),
    "an echo with a new end": (
        Context("and then?", (Turn("user", "soup?"), Turn("assistant", SOUP))),
        f"{SOUP} Enjoy it!",
    ),
    "the message itself": (HELLO, "How do I boil an egg?"),
    "a refusal": (HELLO, "As an AI language model, I do not eat eggs."),
    "a chatbot's refusal": (HELLO, "I'm sorry, but as a chatbot I can only help with text."),
    "a refusal by name": (HELLO, "I'm sorry, but as a SmolLM AI, I can only assist with text-based tasks."),
    "a refusal in German": (Context("wie koche ich ein Ei?"), "Als KI esse ich keine Eier."),
    "a refusal in French": (Context("un œuf?"), "En tant qu'IA, je ne mange pas d'œufs."),
    "Spanish to English": (
        Context("what is the capital of the country that is next to France?"),
        "¡Hola! La capital es una ciudad muy bonita y está en el centro, pero no sé qué más decir por ahora.",
    ),
    "German to French": (
        Context("je ne sais pas ce que je dois faire avec les œufs et le lait"),
        "Das ist nicht so schwer, du kannst die Eier und die Milch mit dem Mehl mischen.",
    ),
    "English to Russian": (Context("как сварить яйцо?"), "Put the egg in boiling water for ten minutes."),
    "Chinese to Japanese": (Context("たまごのゆでかたは？"), "把鸡蛋放进开水里煮十分钟。"),
}
GOOD = {
    "plain": (HELLO, "Put it in boiling water for eight minutes, then in cold water."),
    "a list": (HELLO, "1. Boil water.\n2. Add the egg.\n3. Wait eight minutes.\n4. Cool it."),
    "code": (Context("a loop in python?"), "```py\n" + "print('again and again')\n" * 12 + "```"),
    "a translation": (Context("how do I say thank you in Japanese?"), "You say ありがとう (arigatō)."),
    "about chatbots": (
        Context("what is a chatbot?"),
        "A chatbot is a program that answers, as a person would.",
    ),
    "about AI": (Context("what is an AI?"), "It is a program that learns. Some say I am one."),
    "short": (Context("ok"), "Gracias!"),
    "a quote": (
        Context("and then?", (Turn("assistant", SOUP),)),
        "After it simmered for twenty minutes, add lemon, salt and pepper, and serve it with warm bread.",
    ),
}


@pytest.mark.parametrize(("context", "text"), POOR.values(), ids=POOR)
def test_a_poor_reply_is_found(context, text):
    assert is_poor(text, context)


@pytest.mark.parametrize(("context", "text"), GOOD.values(), ids=GOOD)
def test_an_honest_reply_is_kept(context, text):
    assert not is_poor(text, context)


FRENCH = "Le soleil est sur la mer et les vagues dansent pour nous dans la nuit, je vous le dis avec joie."
ENGLISH = "The sun is on the sea, and the waves dance for us in the night; that is what I would say to you."
ASKED = (
    "Write me a poem in French about the sun and the sea and the night",
    "how do you say it in french, please? it is for the card that I have to write",
    "Translate this, please: the sun is on the sea and it is not cold",
    "Schreib mir das bitte auf Französisch, und nicht auf Deutsch, ich will es mit dir lernen",
    "Für die französische Karte: was kann ich da schreiben, wenn ich nicht viel sagen will?",
    "¿Cómo se dice en francés? No lo sé, pero es para los que están en la casa",
    "como se diz em frances? não sei o que é para uma carta",
    "come si dice in francese? non so che cosa è per la carta e non mi piace",
    "Napisz po francusku, że nie ma tego w domu i że to jest do niczego",
    "用法语写一首诗",
    "フランス語で詩を書いて",
    "프랑스어로 시를 써 줄래?",
    "Напиши стихи на французском",
)


def left_of(context: Context, *texts: str, told: tuple[str, ...] = ()) -> list[str]:
    return [one.text for one in without_poor([Candidate(text, "s") for text in texts], context, told)]


@pytest.mark.parametrize("message", ASKED)
def test_a_reply_in_the_language_that_was_asked_for_is_kept(message):
    assert left_of(Context(message), FRENCH, ENGLISH)[0] == FRENCH


QUESTION = "what is it that you would say about the sun and the sea, and is that the best?"


@pytest.mark.parametrize(
    ("context", "told"),
    [
        (Context(QUESTION, (Turn("user", "speak french with me from now on"),)), ()),
        (Context(QUESTION, persona="You teach French. Answer in French only."), ()),
        (Context(QUESTION), ("Be brief. The member asks: answer in French",)),
    ],
    ids=["an earlier turn", "the persona", "a wish"],
)
def test_a_language_may_be_asked_for_elsewhere(context, told):
    assert left_of(context, FRENCH, ENGLISH, told=told) == [FRENCH, ENGLISH]
    assert left_of(Context(QUESTION), FRENCH, ENGLISH) == [ENGLISH]


@pytest.mark.parametrize(
    "message",
    [
        "are you a human?",
        "are you real",
        "is this a bot or a person",
        "who are you?",
        "do you have feelings?",
        "Bist du ein Mensch?",
        "wer bist du",
        "es-tu une IA ?",
        "¿eres una persona?",
        "você é um robô?",
        "sei una macchina?",
        "jesteś człowiekiem?",
        "你是机器人吗？",
    ],
)
def test_it_may_say_that_it_is_a_program_where_it_is_asked(message):
    assert left_of(Context(message), "I'm an AI, so no.", "I am a woman of thirty.")[0] == "I'm an AI, so no."


def test_words_that_a_member_wants_back_are_no_echo():
    message = (
        "say after me: the quick brown fox jumps over the lazy dog, and then tell me whether that was fun"
    )
    answer = "The quick brown fox jumps over the lazy dog."

    assert left_of(Context(message), answer, "No, I do not want to do that now.")[0] == answer


ENGLISH_FILE = "The dog is in the house and it is not happy with what you have done to the ball. " * 3
GERMAN = "Der Hund ist im Haus, und er ist nicht so froh, weil du das mit dem Ball gemacht hast."


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (f"Kannst du mir das bitte kurz zusammenfassen?\n\nnote.txt:\n{ENGLISH_FILE}", GERMAN),
        (f"note.txt:\n{ENGLISH_FILE}", GERMAN),
        (f"Was ist hier falsch?\n```\n{ENGLISH_FILE}\n```", GERMAN),
        (f"> {ENGLISH_FILE}\nWas ist das?", GERMAN),
        ("What does 'el perro está en la casa y no es muy feliz con lo que has hecho' mean?", ENGLISH),
        ("What is “el perro está en la casa y no es muy feliz con lo que has hecho”?", ENGLISH),
    ],
)  # fmt: skip
def test_the_members_own_words_tell_the_language(message, answer):
    assert not is_poor(answer, Context(message))


def test_an_answer_that_a_person_wrote_is_never_poor():
    candidates = [Candidate(FRENCH, FAQ_STYLE), Candidate(ENGLISH, "s")]

    assert without_poor(candidates, Context(QUESTION)) == candidates


def test_poor_ones_are_dropped_only_while_a_better_one_is_left():
    poor, good = Candidate("As an AI, I cannot cook.", "a"), Candidate("Eight minutes.", "b")
    assert without_poor([poor, good], HELLO) == [good]
    assert without_poor([poor, poor], HELLO) == [poor, poor]
    assert without_poor([], HELLO) == []


EXAMPLE = "Sure, take the early train and bring a book for the long way."


@pytest.mark.parametrize(
    ("text", "copied"),
    [
        (EXAMPLE, True),
        (EXAMPLE.upper(), True),
        (f"Well. {EXAMPLE}", True),
        ("Sure, take the early train and bring a friend for the long evening.", False),
        ("Sure.", False),
        ("", False),
    ],
)
def test_a_copy_of_an_example_is_poor_and_the_same_tone_is_not(text, copied):
    assert copies(text, ["Yes!", EXAMPLE]) is copied
    assert copies("Yes!", ["Yes!", EXAMPLE])
    assert not copies(text, [])


def test_copies_are_dropped_while_another_candidate_is_left():
    both = [Candidate(EXAMPLE, "s"), Candidate("Take a bus.", "s")]

    kept = without_poor(both, Context("How do I get there?"), (), [EXAMPLE])

    assert [one.text for one in kept] == ["Take a bus."]
    assert without_poor(both[:1], Context("How?"), (), [EXAMPLE]) == both[:1]


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("my code is swordfish42", "Swordfish42 sounds safe."),
        ("please tell my friend Aurelia hello", "Hello, dear aurelia!"),
        ("I lost my old blue umbrella", "Ah, my old blue thing!"),
        ("Mein Hund heißt Bello", "Bello ist ein guter Name."),
        ("ok", "OK"),
        ("I visited Anna yesterday", "Anna's place is nice."),
        ("Rex is my dog", "Good boy, Rex!"),
        ('my dog "rex" is ill', "Poor rex."),
        ("(Bo) is here", "Hello, Bo."),
        ("I love\nBerlin", "All Berliners are nice."),
        ("call 0171 1234567", "Call 01711234567 now."),
        ("I have cancer", "Cancer is hard."),
        ("我叫田中", "你好，田中。"),
        ("השם שלי דנה", "שלום דנה"),
    ],
)
def test_a_reply_with_the_members_words_quotes_them(said, reply):
    assert quotes(reply, Context(said))
    assert quotes(reply, Context("and now?", (Turn("user", said),)))
    assert quotes(reply, Context("and now?", (Turn("assistant", said),)))


def test_names_of_speakers_are_words_of_people():
    talk = Context("will it rain?", (Turn("user", "Benedikt: hello there"),), speaker="Annalena")

    assert quotes("Annalena, take an umbrella.", talk)
    assert quotes("Ask Benedikt!", talk)
    assert not quotes("Take an umbrella.", talk)


@pytest.mark.parametrize("reply", ["Sure, gladly!", "You can have a good time.", "I hope so 😀"])
def test_common_words_are_no_quotation(reply):
    assert not quotes(reply, Context("Can I have the train on a day when you like it?"))


SHORT_EXAMPLES = ["Yes!", "Tea, please.", "No worries, take your time.", "😀"]


@pytest.mark.parametrize("example", SHORT_EXAMPLES[:3])
@pytest.mark.parametrize("around", ["{}", "{} {}", "{}!", "\n{}\n", "**{}**"])
def test_a_short_example_is_a_copy_in_any_dress(example, around):
    assert copies(around.format(example, example), SHORT_EXAMPLES)


def test_several_examples_in_a_row_or_one_with_a_word_more_are_copies():
    assert copies("Oh! No worries, take your time.", SHORT_EXAMPLES)
    assert copies("Tea, please. No worries, take your time. Yes!", SHORT_EXAMPLES)
    assert not copies("Yes, I drink tea in the morning.", SHORT_EXAMPLES)
    assert copies("😀", SHORT_EXAMPLES) and not copies("🎉", SHORT_EXAMPLES)


def test_what_a_picture_shows_may_be_in_every_reply_to_it():
    seen = Context("what is this?", pictures=(Picture("image/png", b"png"),))

    assert quotes("The letter names a diagnosis.", seen)
