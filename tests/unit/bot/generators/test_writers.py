"""Several writers: each candidate goes to its writer, one that fails costs only its own, and rests."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from bot.config import ConfigError, parse_settings
from bot.doctor import Verdict
from bot.doctor.models import examine_writers
from bot.generation import Candidate, Context, GeneratorError, GeneratorUnavailable, Style, seated
from bot.generators.factory import create_generator
from bot.generators.model_server import writers
from bot.generators.model_server.writers import REST_S, OneWriter, SeveralWriters
from personalization.ranking.dealing import Writer
from storage.records import Seat
from tests.fakes import FixedClock, ScriptedGenerator
from tests.unit.bot.generators.scripted_server import ScriptedServer, refused, serving

HELLO = Context("hello")


def style(place: int, writer: str, name: str = "warm") -> Style:
    return seated(Style(name, ""), Seat(place, style=name, writer=writer, shares=(0.25, 0.5, 1.0, 1.0)))


class Rig:
    """Two or three scripted writers and a clock."""

    def __init__(self, *names: str) -> None:
        self.clock = FixedClock()
        self.by_name = {
            name: ScriptedGenerator([f"{name} one", f"{name} two", f"{name} three", f"{name} four"])
            for name in names
        }
        found = [OneWriter(Writer(name), one) for name, one in self.by_name.items()]
        self.several = SeveralWriters(found, 60.0, self.clock.steady)

    async def texts(self, *styles: Style) -> list[str]:
        return [one.text for one in await self.several.generate(HELLO, styles)]

    def asked(self) -> dict[str, int]:
        return {name: sum(map(len, one.styles)) for name, one in self.by_name.items()}


@pytest.fixture
def rig():
    return Rig("a", "b")


async def test_each_candidate_is_written_by_its_writer_in_the_order_of_the_styles(rig):
    styles = [style(0, "b", "concise"), style(1, "a", "warm"), style(2, "b", "playful")]

    found = await rig.several.generate(HELLO, styles)

    assert [one.text for one in found] == ["b one", "a one", "b two"]
    assert [one.seat for one in found] == [one.seat for one in styles]
    assert rig.several.n_ends == {"a": {"written": 1}, "b": {"written": 1}}


async def test_the_same_style_of_two_writers_is_told_apart(rig):
    found = await rig.several.generate(HELLO, [style(0, "a"), style(1, "b")])

    assert [(one.text, one.seat.writer) for one in found] == [("a one", "a"), ("b one", "b")]


async def test_a_writer_that_is_down_costs_only_its_own_candidates(rig, caplog):
    rig.by_name["b"].enqueue_error(GeneratorUnavailable("http://secret: said hello to a member"))

    with caplog.at_level(logging.DEBUG):
        assert await rig.texts(style(0, "a"), style(1, "b"), style(2, "a", "x")) == ["a one", "a two"]

    assert rig.several.n_ends["b"] == {"failed": 1}
    assert "writer 2 of 2 wrote nothing" in caplog.text
    assert "secret" not in caplog.text


async def test_if_no_candidate_is_left_another_writer_writes_them_and_says_so(rig):
    rig.by_name["b"].enqueue_error(GeneratorUnavailable("down"))

    found = await rig.several.generate(HELLO, [style(0, "b", "concise"), style(1, "b", "warm")])

    assert [(one.text, one.seat.writer, one.seat.shares) for one in found] == [
        ("a one", "a", ()),
        ("a two", "a", ()),
    ]
    assert rig.asked() == {"a": 2, "b": 2}  # nothing beyond k was written


async def test_if_every_writer_is_down_the_first_failure_is_told(rig):
    for name, one in rig.by_name.items():
        one.enqueue_error(GeneratorUnavailable(f"{name} is down"))

    with pytest.raises(GeneratorUnavailable, match="a is down"):
        await rig.texts(style(0, "a"), style(1, "a"))


async def test_a_writer_that_hangs_delays_no_reply_for_long(rig, monkeypatch):
    monkeypatch.setattr(writers, "GRACE_S", (0.05, 0.05))
    rig.by_name["b"].gate = asyncio.Event()

    async with asyncio.timeout(5):
        assert await rig.texts(style(0, "a"), style(1, "b")) == ["a one"]

    assert rig.several.n_ends["b"] == {"failed": 1}


async def test_a_slower_writer_is_waited_for_by_its_usual_time(rig, monkeypatch):
    monkeypatch.setattr(writers, "GRACE_S", (0.01, 5.0))
    slow, write = rig.several._writers[1], rig.by_name["b"].generate

    async def slowly(context, styles):
        await asyncio.sleep(0.2)
        return await write(context, styles)

    monkeypatch.setattr(rig.by_name["b"], "generate", slowly)
    for _ in range(4):
        assert len(await rig.texts(style(0, "a"), style(1, "b"))) == 2

    assert rig.several.n_ends["b"] == {"written": 4}
    assert slow.grace(0.1) == pytest.approx(3 * 0.2 - 0.1, abs=0.2)


async def test_a_writer_that_takes_longer_than_usual_is_cut_but_does_not_rest(rig, monkeypatch):
    monkeypatch.setattr(writers, "GRACE_S", (0.05, 5.0))
    rig.several._writers[1].usual_s = 0.01
    rig.by_name["b"].gate = asyncio.Event()

    assert await rig.texts(style(0, "a"), style(1, "b")) == ["a one"]

    assert len(rig.several.able()) == 2
    assert rig.several._writers[1].usual_s >= 0.05


async def test_a_writer_that_breaks_in_any_way_costs_only_its_own_candidates(rig, monkeypatch):
    async def broken(*_):
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(rig.by_name["b"], "generate", broken)

    assert await rig.texts(style(0, "a"), style(1, "b")) == ["a one"]
    assert [one.name for one in rig.several.able()] == ["a"]


async def test_replies_at_the_same_time_count_one_outage_once(rig):
    for _ in range(6):
        rig.by_name["b"].enqueue_error(GeneratorUnavailable("down"))

    await asyncio.gather(*(rig.texts(style(0, "a"), style(1, "b")) for _ in range(6)))

    assert rig.several._writers[1].rest_s == REST_S[0]


def test_parameters_of_one_address_stay_there():
    server = {"kind": "openai", "model": "m", "base_url": "http://a/v1", "extra_body": {"api_key": "x"}}
    named = [{"model": "m"}, {"model": "n", "base_url": "http://b/v1"}]

    of = parse_settings({"generator": server | {"writers": named}}).generator.of_writers()

    assert [one.extra_body for one in of.values()] == [{"api_key": "x"}, {}]


async def test_a_writer_that_failed_rests_longer_each_time_and_is_asked_again(rig):
    for expected in (REST_S[0], 2 * REST_S[0], 4 * REST_S[0]):
        rig.by_name["b"].enqueue_error(GeneratorUnavailable("down"))
        await rig.texts(style(0, "a"), style(1, "b"))
        rig.clock.advance(seconds=expected - 1)
        assert [one.name for one in rig.several.able()] == ["a"]
        rig.clock.advance(seconds=1)
        assert [one.name for one in rig.several.able()] == ["a", "b"]

    await rig.texts(style(0, "b"))
    rig.by_name["b"].enqueue_error(GeneratorUnavailable("down"))
    await rig.texts(style(0, "a"), style(1, "b"))
    rig.clock.advance(seconds=REST_S[0])
    assert len(rig.several.able()) == 2  # a success had ended the longer rests


async def test_if_all_rest_all_are_asked(rig):
    for one in rig.by_name.values():
        one.enqueue_error(GeneratorUnavailable("down"))
    with pytest.raises(GeneratorError):
        await rig.texts(style(0, "a"))

    assert [one.name for one in rig.several.able()] == ["a", "b"]


async def test_equal_texts_of_two_writers_are_one_candidate():
    rig = Rig("a", "b")
    rig.by_name["b"].enqueue("A  ONE")

    assert await rig.texts(style(0, "a"), style(1, "b")) == ["a one"]


@pytest.mark.parametrize("writer", ["", "gone"])
async def test_a_candidate_of_no_known_writer_goes_to_the_plain_one(rig, writer):
    assert await rig.texts(style(0, writer)) == ["a one"]


async def test_a_draft_is_continued_by_the_writer_that_began_it(rig):
    rig.by_name["b"].unfinished.append((" and more",))

    found = [text async for text in rig.several.continued(HELLO, style(0, "b"), "b one")]

    assert found == ["b one and more"]


async def test_persona_and_close_reach_every_writer(rig):
    rig.several.use_persona("You are Ada.")
    await rig.several.close()

    assert [(one.persona, one.closed) for one in rig.by_name.values()] == [("You are Ada.", True)] * 2


async def test_a_cancelled_reply_ends_every_request(rig):
    for one in rig.by_name.values():
        one.gate = asyncio.Event()
    task = asyncio.create_task(rig.texts(style(0, "a"), style(1, "b")))
    await asyncio.sleep(0.01)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(asyncio.all_tasks()) == 1


# --- configuration ----------------------------------------------------------------------------------------

TWO_HERE = [{"model": "big"}, {"model": "small"}]
TWO = [{"model": "big"}, {"model": "small", "base_url": "http://other:1/v1", "weight": 0.5}]


def settings(writers, **others):
    raw = {"kind": "openai", "model": "big", "writers": writers} | others
    return parse_settings({"generator": raw}).generator


async def test_each_writer_has_its_own_model_address_and_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "first-key")
    monkeypatch.setenv("SMALL_KEY", "small-key")
    keyed = replace(settings(TWO), persona="p")
    generator = create_generator(keyed)
    assert isinstance(generator, SeveralWriters)
    big, small = (one.generator for one in generator._writers)

    assert generator.name == "big at http://127.0.0.1:8080/v1, small at http://other:1/v1"
    assert big._client.api_key == "first-key"
    assert small._client.api_key != "first-key"  # the key of one server is not shown to another
    await generator.close()
    own = create_generator(settings([TWO[0], TWO[1] | {"api_key_env": "SMALL_KEY"}]))
    assert own._writers[1].generator._client.api_key == "small-key"
    await own.close()


@pytest.mark.parametrize(
    ("writers", "others", "said"),
    [
        ([{"model": "a"}, {"model": "a"}], {}, "expected different names, found 'a' twice"),
        ([{"model": "a", "styles": ["warmer"]}, {"model": "b"}], {}, "writers.0.styles: expected names"),
        ([{"model": "a", "styles": ["warm"]}], {}, "found none for concise, detailed, playful"),
        ([{"model": "a", "base_url": "ftp://x"}], {}, "writers.0.base_url: expected http"),
        ([{"model": "a", "context_tokens": 100}], {}, "writers.0.context_tokens: expected 0 or"),
        ([{"model": "a", "extra_body": {"stream": True}}], {}, "writers.0.extra_body: expected parameters"),
        ([{"model": "a", "name": "two\nlines"}], {}, "writers.0.name: expected one line"),
        ([{"model": "a", "weight": 0.0}], {}, "writers.0.weight"),
        ([{"model": ""}], {}, "writers.0.model"),
        ([{"modell": "a"}], {}, "did you mean model"),
        ([{"model": "a"}], {"models": ["b"]}, "writers and models exclude each other"),
        ([{"model": f"m{i}"} for i in range(9)], {}, "writers"),
    ],
)
def test_a_mistake_names_its_key(writers, others, said):
    with pytest.raises(ConfigError, match=said):
        settings(writers, **others)


@pytest.mark.parametrize(
    "model",
    ["/home/ada/models/a.gguf", "~/models/a.gguf", "models/a.gguf/", "owner/a.gguf", r"C:\models\a.gguf"],
)
def test_a_writer_without_a_name_has_that_of_its_model_and_no_folder_of_the_host(model):
    assert settings([{"model": model}, {"model": "b"}]).writers[0].called == "a.gguf"
    assert settings([{"model": model, "name": "my own"}]).writers[0].called == "my own"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("warm", "warm"), "styles: expected different names, found 'warm' twice"),
        (("warm + shorter", "plain"), "styles: expected a name without ' [+] ', found 'warm [+] shorter'"),
    ],
)
def test_names_of_styles_are_different_and_hold_no_name_of_a_learnt_wish(names, said):
    with pytest.raises(ConfigError, match=said):
        settings([], styles=[{"name": name, "instruction": "Write."} for name in names])


def test_a_candidate_keeps_its_seat_when_it_is_cleaned():
    seat = Seat(1, style="warm", writer="a")

    assert replace(Candidate("x", "warm", seat=seat), text="y").seat == seat


# --- the doctor -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("small", "verdict", "words"),
    [
        ("Hello.", Verdict.OK, "wrote a reply"),
        (refused(500), Verdict.WARNING, "the other writers write in its place"),
        (refused(404), Verdict.WARNING, "the other writers write in its place"),
        ("", Verdict.WARNING, "blank text"),
    ],
)
async def test_the_doctor_asks_every_writer_for_a_reply_with_a_full_context(small, verdict, words):
    first, second = ScriptedServer(), ScriptedServer()
    first.answer_all("Hello.")
    second.answer_all(small)
    async with serving(first), serving(second):
        writers = [{"model": "big"}, {"model": "small", "base_url": second.url, "context_tokens": 512}]
        one, other = await examine_writers(settings(writers, base_url=first.url, retries=0))

    assert one.verdict is Verdict.OK
    assert one.said.startswith("writer big: ")
    assert (other.verdict, words in other.said) == (verdict, True)
    sizes = [len(str(server.bodies[0]["messages"])) for server in (first, second)]
    assert sizes[0] > sizes[1] > 1000  # each with as much context as it gets in use


async def test_the_doctor_fails_if_no_writer_answers():
    server = ScriptedServer()
    server.answer_all(refused(500))
    async with serving(server):
        findings = await examine_writers(settings(TWO_HERE, base_url=server.url, retries=0))

    assert [found.verdict for found in findings] == [Verdict.FAILED] * 2
