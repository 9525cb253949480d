"""Poor replies are dropped while a better one is left."""

from __future__ import annotations

import pytest

from bot.generation import Candidate, Context, Turn
from bot.moderation.poor_replies import is_poor, without_poor

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


def test_poor_ones_are_dropped_only_while_a_better_one_is_left():
    poor, good = Candidate("As an AI, I cannot cook.", "a"), Candidate("Eight minutes.", "b")
    assert without_poor([poor, good], HELLO) == [good]
    assert without_poor([poor, poor], HELLO) == [poor, poor]
    assert without_poor([], HELLO) == []
