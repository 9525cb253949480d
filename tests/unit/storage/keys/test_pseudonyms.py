"""Pseudonyms distinguish people, servers and messages, and reveal nothing without the key."""

from storage.keys.pseudonyms import Pseudonyms
from storage.records import DIRECT_MESSAGES, Who
from storage.records.identifiers import PSEUDONYM_BYTES

NAMES = Pseudonyms(b"k" * 32)


def test_pseudonym_depends_on_server_and_person():
    names = {NAMES.member(Who(guild, user)) for guild in (1, 2) for user in (1, 2)}

    assert len(names) == 4
    assert {len(name) for name in names} == {PSEUDONYM_BYTES}


def test_same_id_of_another_kind_has_another_name():
    names = {NAMES.person(5), NAMES.channel(5), NAMES.message(5), NAMES.guild(Who(5, 1)), NAMES.check()}

    assert len(names) == 5


def test_person_is_the_same_in_every_server():
    assert NAMES.person(5) == Pseudonyms(b"k" * 32).person(5)


def test_direct_messages_of_two_people_are_two_servers():
    assert NAMES.guild(Who(DIRECT_MESSAGES, 1)) != NAMES.guild(Who(DIRECT_MESSAGES, 2))


def test_another_key_gives_other_names():
    assert Pseudonyms(b"q" * 32).person(5) != NAMES.person(5)
