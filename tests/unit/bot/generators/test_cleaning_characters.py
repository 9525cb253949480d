"""Generated texts: removing an unfinished end never cuts inside a grapheme cluster."""

import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.generators.cleaning import without_unfinished_end

generated = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)

ENDS = st.sampled_from(
    (".", "!\u0301", "。", "。\ufe00", "！」\ufe00", "？\u200d", "… ", ". ", "\n", "🇩🇪", "e\u0301")
)
TEXTS = st.lists(st.text(max_size=6) | ENDS, max_size=20).map("".join)


def clusters(text: str) -> list[str]:
    """The grapheme clusters of a text, without white space."""
    found = [cluster.strip() for cluster in regex.findall(r"\X", text)]
    return [cluster for cluster in found if cluster]


@generated
@given(TEXTS)
def test_an_unfinished_end_is_cut_after_a_whole_grapheme_cluster(text):
    kept = clusters(without_unfinished_end(text))

    assert kept == clusters(text)[: len(kept)]
