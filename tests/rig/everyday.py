"""A hundred everyday messages, with and without an earlier conversation, for measurements of the writer.

They were written down before anything was measured, and nothing is tuned to single ones. Every second of them
has a history: the two turns before it, as a chat in a server would have.
"""

from __future__ import annotations

from bot.generation import Context, Turn

MESSAGES = (
    "hi there!",
    "good morning everyone",
    "what's the capital of Australia?",
    "how do I boil an egg?",
    "I'm bored, any ideas?",
    "recommend me a movie for tonight",
    "why is the sky blue?",
    "my cat keeps waking me up at 5am, help",
    "what should I cook with chicken and rice?",
    "can you explain recursion simply?",
    "I failed my driving test today :(",
    "tell me a joke",
    "what is the difference between a virus and bacteria?",
    "how do I get better at chess?",
    "is it ok to drink coffee every day?",
    "write a birthday wish for my sister",
    "my laptop is really slow lately",
    "what's a good name for a goldfish?",
    "how many planets are there?",
    "I have a job interview tomorrow, any tips?",
    "what does HTTP stand for?",
    "how do I remove a coffee stain from a shirt?",
    "who wrote Romeo and Juliet?",
    "should I learn Python or JavaScript first?",
    "I can't sleep at night",
    "what's your favourite season?",
    "how long should I cook pasta?",
    "give me a fun fact",
    "my plant has yellow leaves, what's wrong?",
    "how do I ask someone out?",
    "what is inflation?",
    "best way to learn a new language?",
    "I just got a puppy!!",
    "what time zone is Tokyo in?",
    "can dogs eat grapes?",
    "how do vaccines work?",
    "I need a workout I can do at home",
    "suggest a book like Harry Potter",
    "what's 15% of 80?",
    "how do I make my room look bigger?",
    "thanks, that helped a lot",
    "what is a black hole?",
    "how do I stop procrastinating?",
    "is pineapple on pizza a crime?",
    "what gift should I get for my dad?",
    "how do I tie a tie?",
    "I feel lonely since I moved to a new city",
    "what's the tallest mountain?",
    "explain the offside rule in football",
    "how can I save money each month?",
    "what should I pack for a weekend hike?",
    "do fish sleep?",
    "my friend is ignoring me, what do I do?",
    "how does wifi work?",
    "what's a synonym for happy?",
    "how often should I water a cactus?",
    "I want to start running, how do I begin?",
    "what happened to the dinosaurs?",
    "can you help me name my podcast about history?",
    "goodnight!",
    "how do I fix a flat bike tyre?",
    "what are the primary colours?",
    "is a tomato a fruit?",
    "how do I write a good CV?",
    "what do you think about rainy days?",
    "how many minutes are in a day?",
    "why do cats purr?",
    "I burnt my dinner again lol",
    "how do I clean white sneakers?",
    "what is the meaning of serendipity?",
    "suggest a game to play with four friends",
    "how do I calm down before an exam?",
    "what's the fastest animal?",
    "how do I make pancakes?",
    "who was Ada Lovelace?",
    "my phone battery drains fast",
    "what's a healthy breakfast?",
    "how do I keep my houseplants alive on holiday?",
    "what is machine learning?",
    "we won the match today!",
    "how do I say thank you in Japanese?",
    "what should I do on a rainy Sunday?",
    "how does a bill become a law?",
    "what's the best way to store tomatoes?",
    "I'm nervous about my first day at school",
    "how do I sharpen a knife?",
    "what causes thunder?",
    "can you recommend some relaxing music?",
    "how do I apologise to a friend?",
    "what is photosynthesis?",
    "how much water should I drink?",
    "what is a haiku?",
    "how do I unclog a sink?",
    "what are good icebreakers for a party?",
    "why do we yawn?",
    "how do I choose a good password?",
    "what is the boiling point of water?",
    "I finally finished my thesis",
    "how do I grow basil indoors?",
    "what makes bread rise?",
)
"""What members of a server might write to a bot."""

_HISTORIES = (
    (
        "do you know a good soup for winter?",
        "A thick lentil soup with cumin keeps you warm. Fry an onion, add two carrots, a cup of red"
        " lentils and a litre of stock, and let it simmer for twenty minutes. A squeeze of lemon helps.",
    ),
    (
        "who won the world cup in 1998?",
        "France won the World Cup in 1998. They beat Brazil 3-0 in the final near Paris.",
    ),
    (
        "I'm learning the guitar",
        "That's great! Start with a few easy chords such as G, C and D, and practise changing between them"
        " for ten minutes a day. What kind of music would you like to play?",
    ),
)


def contexts() -> list[Context]:
    """Return one context per message; every second one has a history."""
    found: list[Context] = []
    for number, message in enumerate(MESSAGES):
        asked, answered = _HISTORIES[number // 2 % len(_HISTORIES)]
        turns = (Turn("user", asked), Turn("assistant", answered)) if number % 2 else ()
        found.append(Context(message, turns))
    return found
