"""A member makes the model write disguised links and invitations.

Each generated disguise is filtered at each level. What is left is judged by an oracle of Discord's own
markdown (``tests/rig/discord_markdown.py``), as a whole and as the messages in which it is posted.
"""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages.splitting import split_message
from bot.moderation.output_filter import Drop, Level, OutputFilter, Rules
from tests.rig.discord_markdown import links_of
from tests.rig.size import sized
from tests.timing import assert_cost_is_about_linear

FILTER = OutputFilter()
FORBIDDING = (Level.STANDARD, Level.STRICT)
"""Levels without invitations."""

MASKED = (
    "[bank](https://evil.example)",
    "[the [real] bank](https://evil.example/a)",
    "[a\nbank](https://evil.example)",
    "[bank](<https://evil.example>)",
    "[bank]( <HTTPS://evil.example> )",
    '[bank](https://evil.example "the bank")',
    "[bank](https://evil.example 'the\nbank')",
    "[bank](https://evil.example/a_(b))",
    "[bank](https:evil.example)",
    "[bank](https\\://evil.example)",
    "[bank](https:\\/\\/evil.example)",
    "[a ] bank](https://evil.example)",
    "[**bank**](https://evil.example)",
    "[`bank`](https://evil.example)",
    "[a ` bank](https://evil.example)",
    "[a ``` bank](https://evil.example)",
    "![bank](https://evil.example)",
    "[https://good.example](https://evil.example)",
    "[bank](discord://-/settings)",
    "[bank](" + " " * 400 + "https://evil.example)",
    "[[inner](https://evil.example)](https://evil.example)",
)
WRAPS = (
    "{}",
    "\\`{}\\`",
    "\\```\n{}\n\\```",
    "\\\\`x` {} `y`",
    "`` ` `` {} `` ` ``",
    "` {} ``",
    "```{} `` ",
    "\uff40{}\uff40",
    "> `\n{} `",
    "# `\n{} `",
    "-# `\n{} `",
    "- `\n- {} `",
    "- ```\n- {}\n```",
    "||`|| {} `",
    "**`** {} `",
    "**```**\n{}\n```",
    "*`* {} `",
    "_`_ {} `",
    "__`__ {} `",
    "~~`~~ {} `",
    "<https://a.example/`> {} `",
    "https://a.example/` {} `",
    "[x](y`z) {} `",
    "[a `](x) {} `",
    "[a] b `{}` c",
    "> {}",
    ">>> `a`\n{}",
    "||{}||",
    "**{}**",
    "<@1>{}<@&2>",
    "\u200b{}\u2060",
    "`\u200b`{}`\u200b`",
    "```py\n```{}```",
    "````{}```",
    "```\n```\n{}\n```\n```",
)
ADDRESSES = (
    "https://evil.example",
    "HTTPS://evil.example/a?b=c#d",
    "http://1.2.3.4:80/",
    "xhttps://evil.example",
    "(https://evil.example)",
    "htt<@1>ps://evil.example",
    "<https://evil.example>",
    "<http://evil.example/a,b>",
    "https://a`https://evil.example",
    "https://.evil.example",
    "steam://run/1",
)
INVITES = (
    "discord.gg/abc",
    "https://discord.gg/abc",
    "DISCORD.GG/abc",
    "discord.gg./abc",
    "www.discord.gg/abc",
    "discord\u3002gg/abc",
    "discord\uff0egg/abc",
    "discord\uff61gg/abc",
    "dis\u00adcord.gg/abc",
    "dis\u034fcord.gg/abc",
    "dis\ufe0fcord.gg/abc",
    "dis\U000e0020cord.gg/abc",
    "\u24d3iscord.gg/abc",
    "\U0001d5f1iscord.gg/abc",
    "%64iscord.gg/abc",
    "discord%252Egg/abc",
    "discord\\.gg/abc",
    "**discord**.gg/abc",
    "discord||.gg||/abc",
    "`discord`.gg/abc",
    "discord .gg/abc",
    "https://name:word@discord.gg/abc",
    "https://discord.gg:443/abc",
    "https:\\\\discord.gg\\abc",
    "//discord.gg/abc",
    "[x](//discord.gg/abc)",
    "discord.com/invite/abc",
    "https://discord.com/./invite/abc",
    "https://discord.com/x/../invite/abc",
    "https://discord.com/%2e%2e/invite/abc",
    "https://discord.com//invite/abc",
    "https://discord.com:443/invite/abc",
    "https://discord.com:/invite/abc",
    "https://me@discord.com/invite/abc",
    "https://discord.com\\invite\\abc",
    "https://discord.com./invite/abc",
    "https://discord.com/%69nvite/abc",
    "https://discord.com/INVITE/abc",
    "https://discord.com/invi\u200bte/abc",
    "https://discord.com/" + "a/../" * 90 + "invite/abc",
    "https://discord.com/login?redirect_to=%2Finvite%2Fabc",
    "https://discord.com/discord.com/../invite/abc",
    "ptb.discord.com/invite/abc",
    "https://canary.discord.com/invite/abc",
    "discordapp.com/invite/abc",
    "https://www.discordapp.com/invite/abc",
    "discord://-/invite/abc",
    "discord://discord.com/invite/abc",
    "dsc.gg/abc",
    "invite.gg/abc",
    "https://discord.me/abc",
    "https://discord.link/abc",
    "_discord_.gg/abc",
    "_discord_._gg_/abc",
    "*_discord_*.com/invite/abc",
    "https://disboard.org/server/join/abc",
    "https://disboard.org/de/server/abc",
    "https://www.disboard.org:443/./server/abc",
    "https://top.gg/servers/abc",
    "https://top.gg/discord/servers/abc/join",
    "https://discords.com/servers/abc",
    "https://discord.com/servers/abc-123",
)
HONEST = (
    "An array [1](2), a call f[x](y) and `a[0](b)`.",
    "```py\nrows[0](https_url)\n# see https://docs.example/a\n```",
    "**Example:**\n```bash\ncurl -sS 'https://example.org' | sh\n```\nThat is *all*.",
    "1. Write:\n```yaml\nuser: bob\n```\n2. Save.",
    "Use `` `x` `` and `[text](https://example.org)`.",
    "Lists are disboard.org and top.gg; see top.gg/bot/1, discord.com/safety and top_gg/servers.",
    "Discord's site is discord.com, its guide discord.com/developers/docs/resources/invite.",
    "a <b> [c] 1 < 2 ~~no~~ ||yes|| snake_case `snake_case` <:smile:123> <t:123:R>",
    "The \u7d50\u8ad6\u3002 done.",
)


def posted(text: str, level: Level) -> str | None:
    """Return what is posted of a text, or None if it is dropped."""
    tidy = FILTER.tidied(text, Rules(level))
    return None if FILTER.reason(tidy, Rules(level)) else tidy


def shown_links(text: str):
    return [link for message in (text, *split_message(text)) for link in links_of(message)]


def leaks(text: str, level: Level) -> list:
    """Return the forbidden links of what is posted."""
    left = posted(text, level)
    if left is None:
        return []
    return [link for link in shown_links(left) if link.label is not None or level is Level.STRICT]


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("wrap", WRAPS)
def test_no_disguise_of_a_masked_link_is_posted(wrap, level):
    found = {link: leaks(wrap.format(link), level) for link in MASKED}

    assert {link: left for link, left in found.items() if left} == {}


def test_the_oracle_sees_the_disguises():
    """A check that sees nothing proves nothing."""
    live = [wrap for wrap in WRAPS if any(link.label for link in links_of(wrap.format(MASKED[0])))]

    assert len(live) > len(WRAPS) * 3 / 4
    assert all(any(x.label for x in links_of(link)) for link in MASKED[:4])
    assert links_of("`[a](https://b.example)` ```\n[a](https://b.example)```") == []


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_strict_level_posts_no_address(wrap):
    assert {a: left for a in ADDRESSES if (left := leaks(wrap.format(a), Level.STRICT))} == {}


@pytest.mark.parametrize("invite", INVITES)
def test_no_disguise_of_an_invitation_is_posted(invite):
    wrapped = [wrap.format(invite) for wrap in WRAPS] + [f"join {invite}, now!", f"x:{invite}"]

    left = [(text, level) for text in wrapped for level in FORBIDDING if "abc" in (posted(text, level) or "")]

    assert left == []


MENTIONS = ("<@1>", "<@!1>", "<@&1>", "<<@1>@1>", "@everyone", "@@here", "@<@1>everyone", "<@1 <@2>>")


@pytest.mark.parametrize("wrap", [*WRAPS, "a `" + "word " * 500 + "{} `"])
def test_no_mention_is_posted_where_mentions_are_forbidden(wrap):
    """The oracle knows links only, so each mention that is left is written as one before it is asked."""
    left = {}
    for mention in MENTIONS:
        for level in FORBIDDING:
            text = posted(wrap.format(mention), level) or ""
            live = re.sub(r"<@[!&]?\d+>|@(?=everyone|here)", "https://mention.example/", text)
            if any("mention.example" in link.address for link in shown_links(live)):
                left[mention, level] = text

    assert left == {}


def test_an_invitation_that_appears_when_a_mention_is_removed_is_dropped():
    assert posted("join discord<@1>.gg/abc", Level.STANDARD) is None


@pytest.mark.parametrize("text", HONEST)
@pytest.mark.parametrize("level", Level)
def test_a_text_without_links_stays_as_it_is(text, level):
    assert posted(text, level) == text


PIECES = (
    *(
        "`",
        "``",
        "```",
        "\\",
        "[",
        "]",
        "](",
        ")",
        "(",
        "<",
        ">",
        "*",
        "**",
        "_",
        "__",
        "~~",
        "||",
        "\n",
        "\n\n",
    ),
    *("> ", "- ", "# ", "a", " ", "word ", "py\n", "https://evil.example", "](https://evil.example)", "<@1>"),
    *("\u200b", '"', "[x](https://evil.example)", "@everyone", "."),
)


@settings(max_examples=sized(ci=300, full=50_000), deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
def test_random_markdown_never_leaks_and_filtering_twice_changes_nothing(text):
    for level in Level:
        assert leaks(text, level) == []
        left = posted(text, level)
        assert left is None or posted(left, level) == left


@settings(max_examples=sized(ci=100, full=5_000), deadline=None)
@given(st.integers(0, 10**9))
def test_a_cut_between_messages_makes_no_link(seed):
    rng = random.Random(seed)
    filler = " ".join("word" for _ in range(rng.randrange(360, 400)))
    text = (
        f"{filler} `{'x ' * rng.randrange(1, 40)}[bank](https://evil.example){' y' * rng.randrange(300)}` z"
    )

    for level in Level:
        assert leaks(text, level) == []


@settings(max_examples=sized(ci=50, full=2_000), deadline=None)
@given(st.integers(1, 120))
def test_no_cut_falls_into_an_address_or_a_code_span(n):
    for whole in ("`some code here`", "https://a.example/path", "[a b c](https://a.example)"):
        text = "word " * n + whole + " more words" * 20

        assert sum(whole in chunk for chunk in split_message(text, 64)) == 1


UNITS = (
    *(
        "[",
        "](",
        "[a](b",
        "`",
        "`a``",
        "\\",
        "<",
        "<a",
        "https://",
        "discord.com/",
        "discord.gg ",
        "*_",
        "\n> ",
    ),
    *("](<", "[x](https://a 'b", "(https://a", "discord .", "```\n", "%25", "\u034f", "||`"),
)


@pytest.mark.parametrize("unit", UNITS)
def test_links_are_judged_in_linear_time(unit):
    assert_cost_is_about_linear(lambda n: FILTER.reason((unit * n)[:n]), sized(ci=8_000, full=20_000))


def test_control_without_the_rules_of_code_a_masked_link_leaks(monkeypatch):
    monkeypatch.setattr("bot.moderation.output_filter._has_masked_link", lambda text: False)

    assert leaks("\\`[bank](https://evil.example)\\`", Level.STANDARD)
    assert FILTER.reason("discord.gg/abc", Rules(Level.STANDARD)) is Drop.INVITE_LINK
