"""The threshold of ``/faq`` with the packaged encoder: rephrased questions, and messages that sound alike."""

import numpy as np
import pytest

from bot.settings import FaqSettings
from personalization.encoding.loading import load_encoder

ASKED = {
    "When is the library open?": ("what time does the library open", "hey when can I go to the library"),
    "How do I get the artist role?": ("i want the artist role pls", "how can i become an artist here"),
    "Where can I report a bug?": ("i found a bug, where do I post it?", "who do I tell about a bug"),
    "When is the next game night?": ("when are we playing next?", "what day is game night"),
    "How do I reset my password?": ("forgot my password", "how to change my password"),
}
SMALL_TALK = (
    "tell me a joke", "I love libraries", "what do you think about artists", "I hate bugs in my garden",
    "good night everyone", "who won the game last night?", "write me a poem about passwords", "hello",
)  # fmt: skip


@pytest.mark.slow
def test_the_packaged_encoder_tells_a_question_in_other_words_from_small_talk():
    encoder = load_encoder("packaged", "cpu")
    questions = encoder.encode(list(ASKED))

    def close(texts):
        return (encoder.encode(list(texts)) @ questions.T) >= FaqSettings().similarity

    found = np.stack([close(others) for others in ASKED.values()])  # (questions, texts, questions)

    assert found.tolist() == [[row.tolist()] * 2 for row in np.eye(len(ASKED), dtype=bool)]
    assert not close(SMALL_TALK).any()
