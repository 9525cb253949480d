"""Access lists: a table of lists and speakers, and whether the bot answers."""

from __future__ import annotations

import pytest

from bot.servers.access import GuildAccessList, Speaker, may_talk
from bot.settings import AccessList

MEMBER, ROLE, THREAD, CHANNEL, CATEGORY, OTHER = 1, 2, 3, 4, 5, 99
HERE = Speaker(
    frozenset({MEMBER, "hash"}), frozenset({ROLE}), frozenset({THREAD, CHANNEL, CATEGORY}), direct=False
)
DIRECT = Speaker(frozenset({MEMBER, "hash"}), direct=True)
NOBODY = AccessList()


@pytest.mark.parametrize(
    ("allow", "deny", "here", "direct"),
    [
        (NOBODY, NOBODY, True, True),
        (AccessList(members=(MEMBER,)), NOBODY, True, True),
        (AccessList(members=(OTHER,)), NOBODY, False, False),
        (AccessList(roles=(ROLE,)), NOBODY, True, True),
        (AccessList(roles=(OTHER,)), NOBODY, False, True),  # direct messages know no roles
        (AccessList(members=(OTHER,), roles=(ROLE,)), NOBODY, True, False),
        (AccessList(channels=(THREAD,)), NOBODY, True, True),
        (AccessList(channels=(CHANNEL,)), NOBODY, True, True),  # a thread belongs to its channel
        (AccessList(categories=(CATEGORY,)), NOBODY, True, True),  # and a channel to its category
        (AccessList(channels=(OTHER,)), NOBODY, False, True),
        (AccessList(channels=(OTHER,), categories=(CATEGORY,)), NOBODY, True, True),
        (AccessList(members=(OTHER,), channels=(CHANNEL,)), NOBODY, False, False),  # who and where
        (AccessList(members=(MEMBER,), channels=(OTHER,)), NOBODY, False, True),
        (NOBODY, AccessList(members=(MEMBER,)), False, False),
        (NOBODY, AccessList(roles=(ROLE,)), False, True),
        (NOBODY, AccessList(channels=(CHANNEL,)), False, True),
        (NOBODY, AccessList(categories=(CATEGORY,)), False, True),
        (NOBODY, AccessList(members=(OTHER,), roles=(OTHER,), channels=(OTHER,)), True, True),
        # Denied wins, however closely it is allowed.
        (AccessList(members=(MEMBER,)), AccessList(roles=(ROLE,)), False, True),
        (AccessList(channels=(THREAD,)), AccessList(categories=(CATEGORY,)), False, True),
        (AccessList(members=(MEMBER,)), AccessList(members=(MEMBER,)), False, False),
        (GuildAccessList(members=("hash",)), NOBODY, True, True),
        (GuildAccessList(members=("another",)), NOBODY, False, False),
        (NOBODY, GuildAccessList(members=("hash",)), False, False),
    ],
)
def test_who_may_talk(allow, deny, here, direct):
    assert (may_talk(HERE, allow, deny), may_talk(DIRECT, allow, deny)) == (here, direct)
