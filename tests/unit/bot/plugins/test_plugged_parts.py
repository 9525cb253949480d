"""Plug-ins that fail, hang, lie or are missing: each has a clear error, and the bot goes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from bot.config import ConfigError, parse_settings
from bot.doctor import Verdict
from bot.doctor.plugins import examine_plugins
from bot.generation import Candidate, Context, GeneratorError, GeneratorUnavailable, ModelMissing
from bot.generators.factory import create_generator
from bot.moderation.output_filter import OutputFilter, Rules
from bot.plugins.generator import PluggedGenerator
from bot.plugins.text_filters import JudgesTogether, with_filters
from bot.settings import DEFAULT_STYLES, GeneratorSettings
from personalization.encoding.loading import load_encoder
from personalization.errors import PluginBroken
from personalization.labels.labels import EmojiValence, Label
from personalization.labels.plugged import Labeller, source_in
from personalization.plugins import Group, load_plugin
from personalization.settings import LearningSettings
from tests.rig.offered_plugins import offered_in

CONTEXT, STYLES = Context("hello"), DEFAULT_STYLES


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    source_in.cache_clear()
    yield offered_in(tmp_path, monkeypatch)
    source_in.cache_clear()


class Model:
    """A generator whose answer is made by a function."""

    def __init__(self, answer):
        self._answer = answer

    async def generate(self, context, styles):
        return self._answer(styles)


def model(answer, timeout_s: float = 5.0) -> PluggedGenerator:
    return PluggedGenerator("test", Model(answer), timeout_s)


def broken(styles):
    raise KeyError("a word of a member")


@pytest.mark.parametrize(
    ("code", "attribute", "says"),
    [
        ("raise OSError('no driver')", "Plugin", "cannot be imported (OSError: no driver)"),
        ("Plugin = 3", "Plugin", "expected a function or class"),
        ("", "Plugin", "cannot be imported (AttributeError"),
        (
            "def Plugin(settings): raise ValueError('no key')",
            "Plugin",
            "could not start (ValueError: no key)",
        ),
        (
            "class Plugin:\n def __init__(self, s): pass",
            "Plugin",
            "expected generate, which writes candidates",
        ),
    ],
)
def test_a_generator_that_does_not_start_says_why(plugins, code, attribute, says):
    plugins.offer(Group.GENERATORS, "mine", code, attribute=attribute)
    with pytest.raises(ModelMissing) as caught:
        create_generator(GeneratorSettings(kind="plugin:mine"))
    assert says in str(caught.value)


@pytest.mark.parametrize("group", list(Group))
def test_a_missing_plugin_is_named_with_its_group_and_what_there_is(plugins, group):
    plugins.offer(group, "theirs", "Plugin = print")
    with pytest.raises(PluginBroken) as caught:
        load_plugin(group, "mine")
    assert f"expected an installed plug-in mine of the group {group}, found" in str(caught.value)
    assert "theirs" in str(caught.value)


@pytest.mark.parametrize("group", list(Group))
def test_two_packages_with_one_name_are_refused(plugins, group):
    plugins.offer(group, "mine", "Plugin = print", package="first-package")
    plugins.offer(group, "mine", "Plugin = print", package="second-package")
    with pytest.raises(PluginBroken) as caught:
        load_plugin(group, "mine")
    assert "mine of first-package 1.5, mine of second-package 1.5" in str(caught.value)


@pytest.mark.parametrize("answer", [broken, lambda styles: None, lambda styles: 7])
async def test_a_generator_that_fails_is_a_generator_error_without_words_of_members(answer):
    with pytest.raises(GeneratorError) as caught:
        await model(answer).generate(CONTEXT, STYLES)
    assert "a word of a member" not in str(caught.value)


async def test_candidates_that_are_none_are_left_out_and_the_order_is_that_of_the_styles():
    def answer(styles):
        good = [Candidate(style.name, style.name) for style in reversed(styles)]
        return [
            *good,
            Candidate("twice", styles[0].name),
            Candidate(" ", "warm"),
            "text",
            Candidate("x", "none"),
        ]

    found = await model(answer).generate(CONTEXT, STYLES)

    assert [one.style for one in found] == [style.name for style in STYLES]
    assert all(one.text == one.style for one in found)


async def test_a_generator_that_hangs_is_given_up():
    class Hangs:
        async def generate(self, context, styles):
            await asyncio.Event().wait()

    with pytest.raises(GeneratorUnavailable, match="within"):
        await PluggedGenerator("test", Hangs(), 0.05).generate(CONTEXT, STYLES)


async def test_a_generator_without_drafts_says_so():
    with pytest.raises(GeneratorError, match="draft_tokens = 0"):
        async for _ in model(broken).continued(CONTEXT, STYLES[0], "begun"):
            pass


async def test_drafts_of_a_plugin_grow_and_its_failure_ends_them():
    class Grows(Model):
        async def continued(self, context, style, begun):
            yield begun + " and"
            yield begun + " and on"
            raise OSError("gone")

    seen = []
    with pytest.raises(GeneratorError):
        async for text in PluggedGenerator("test", Grows(broken), 5.0).continued(CONTEXT, STYLES[0], "on"):
            seen.append(text)
    assert seen == ["on and", "on and on"]


SHAPES = {
    "too few rows": "np.ones((1, 4)) / 2",
    "rows of another length": "np.ones((len(texts), 4))",
    "not a number": "np.full((len(texts), 4), np.nan)",
    "another dimension": "np.ones((len(texts), 9)) / 3",
    "words": "['a'] * len(texts)",
    "an error": "1 / 0",
}


@pytest.mark.parametrize("returned", SHAPES.values(), ids=SHAPES)
def test_an_encoder_that_returns_no_embeddings_is_refused_at_start(plugins, returned):
    code = (
        "import numpy as np\nclass Plugin:\n encoder_id = 'x'\n dim = 4\n"
        f" def __init__(self, device): pass\n def encode(self, texts): return {returned}\n"
    )
    plugins.offer(Group.ENCODERS, "mine", code)
    with pytest.raises(PluginBroken, match="plug-in mine"):
        load_encoder("plugin:mine", "cpu")


@pytest.mark.parametrize(("own_id", "dim"), [("", 4), ("a\nb", 4), ("x" * 201, 4), ("x", 0), ("x", 99_999)])
def test_an_encoder_with_a_strange_id_or_size_is_refused(plugins, own_id, dim):
    code = (
        "import numpy as np\nclass Plugin:\n"
        f" encoder_id = {own_id!r}\n dim = {dim}\n def __init__(self, device): pass\n"
        " def encode(self, texts): return np.ones((len(texts), 4)) / 2\n"
    )
    plugins.offer(Group.ENCODERS, "mine", code)
    with pytest.raises(PluginBroken):
        load_encoder("plugin:mine", "cpu")


def test_an_encoder_that_fails_later_fails_as_a_device_does(plugins):
    code = (
        "import numpy as np\nclass Plugin:\n encoder_id = 'x'\n dim = 4\n def __init__(self, device): pass\n"
        " def encode(self, texts):\n"
        "  if 'bad' in texts: raise KeyError('bad')\n"
        "  return np.ones((len(texts), 4)) / 2\n"
    )
    plugins.offer(Group.ENCODERS, "mine", code)
    encoder = load_encoder("plugin:mine", "cpu")
    assert encoder.encoder_id == "plugin:mine/x"
    assert encoder.encode([]).shape == (0, 4)
    with pytest.raises(RuntimeError, match="KeyError"):
        encoder.encode(["bad"])
    assert np.allclose(encoder.encode(["good"]), 0.5)


class Rates:
    """A filter whose ratings are made by a function."""

    def __init__(self, rate):
        self._rate = rate

    def unwanted(self, texts):
        return self._rate(texts)


TEXTS = (Candidate("A fine answer.", "warm"), Candidate("Another one.", "playful"))


@pytest.mark.parametrize(
    ("rate", "kept"),
    [
        (lambda texts: [0.0, 1.0], 1),
        (lambda texts: [0.0, 0.69], 2),
        (lambda texts: [0.0], 0),
        (lambda texts: [float("nan"), 0.0], 1),
        (lambda texts: None, 0),
        (lambda texts: ["x", 0.0], 0),
        (lambda texts: [-5.0, 9.0], 1),
        (broken, 0),
    ],
)
async def test_what_a_filter_cannot_check_is_not_posted(rate, kept):
    judge = JudgesTogether(None, {"mine": Rates(rate)})
    assert len(await OutputFilter(judge=judge).keep(TEXTS, Rules())) == kept


async def test_a_filter_that_hangs_lets_nothing_through():
    import threading

    free = threading.Event()
    judge = JudgesTogether(None, {"mine": Rates(lambda texts: free.wait(30) and [0.0, 0.0])}, within_s=0.05)
    try:
        assert await OutputFilter(judge=judge).keep(TEXTS, Rules()) == []
    finally:
        free.set()


async def test_the_strictest_of_model_and_filters_counts():
    class Harsh:
        async def toxicity(self, texts):
            return [0.9, 0.0]

    judge = JudgesTogether(
        Harsh(), {"a": Rates(lambda texts: [0.0, 0.0]), "b": Rates(lambda texts: [0.0, 0.8])}
    )
    assert await judge.toxicity(["x", "y"]) == [0.9, 0.8]
    assert with_filters(None, []) is None


OWN = Label(1.0, 1.0)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("None", None),
        ("own", OWN),
        ("Label(0.0, 1.0)", Label(0.0, 1.0)),
        ("Label(1.0, 50.0)", Label(1.0, 2.0)),
        ("Label(1.5, 1.0)", OWN),
        ("Label(0.5, -1.0)", OWN),
        ("Label(0.5, 0.0)", None),
        ("Label(float('nan'), 1.0)", OWN),
        ("Label(0.5, float('inf'))", OWN),
        ("'liked'", OWN),
        ("1 / 0", OWN),
    ],
)
def test_a_label_of_a_plugin_is_bounded_and_a_wrong_one_is_not_used(plugins, returned, expected):
    code = (
        "from bot.plugins import Label\n"
        f"class Plugin:\n def label(self, reactions, rating, own): return {returned}\n"
    )
    plugins.offer(Group.LABELS, "mine", code)
    label_of = Labeller(LearningSettings(label_source="plugin:mine"))
    assert label_of(["👍"], None, EmojiValence()) == expected


def test_the_doctor_starts_filters_and_label_sources(plugins):
    plugins.offer(
        Group.FILTERS, "good", "class Plugin:\n def unwanted(self, texts): return [0.0] * len(texts)"
    )
    found = list(examine_plugins(("plugin:good", "plugin:gone"), "plugin:gone"))
    assert [one.verdict for one in found] == [Verdict.OK, Verdict.FAILED, Verdict.FAILED]
    assert "good of offered-" in found[0].said


@pytest.mark.parametrize(
    "raw",
    [
        {"generator": {"kind": "plugin:"}},
        {"generator": {"kind": ""}},
        {"generator": {"writers": [{"model": "a", "kind": "plugin"}]}},
        {"safety": {"filters": ["words"]}},
        {"safety": {"filters": ["plugin:"]}},
        {"personalization": {"label_source": "hearts"}},
    ],
)
def test_a_setting_that_names_no_plugin_is_refused(raw):
    with pytest.raises(ConfigError, match='"plugin:NAME", found'):
        parse_settings(raw)


def test_settings_of_a_plugin_reach_writers():
    settings = GeneratorSettings()
    raw = {"generator": {"writers": [{"model": "packaged"}, {"model": "b", "kind": "plugin:echo"}]}}
    assert [one.kind for one in parse_settings(raw).generator.of_writers().values()] == [
        "local",
        "plugin:echo",
    ]
    assert replace(settings, kind="plugin:echo").kind == "plugin:echo"
