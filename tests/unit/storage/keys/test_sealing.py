"""A sealed value opens only unchanged and at its place."""

import pytest

from storage.errors import SealBroken
from storage.keys.sealing import FORMAT, NONCE_BYTES, SealingKey, Slot, new_key

SLOT = Slot("feedback", "state", row=7, member=b"alice", version=3)


def test_sealed_value_opens_at_its_place():
    key = SealingKey(new_key())

    assert key.open(key.seal(b"thumbs up", SLOT), SLOT) == b"thumbs up"


def test_sealing_twice_gives_different_bytes():
    key = SealingKey(new_key())

    assert key.seal(b"same", SLOT) != key.seal(b"same", SLOT)


def test_every_flipped_bit_is_refused():
    key = SealingKey(new_key())
    sealed = key.seal(b"v", SLOT)

    for position in range(len(sealed) * 8):
        broken = bytearray(sealed)
        broken[position // 8] ^= 1 << position % 8
        with pytest.raises(SealBroken):
            key.open(bytes(broken), SLOT)


@pytest.mark.parametrize("length", [0, 1, NONCE_BYTES, NONCE_BYTES + 1, NONCE_BYTES + 16])
def test_cut_short_value_is_refused(length):
    key = SealingKey(new_key())

    with pytest.raises(SealBroken):
        key.open(key.seal(b"value", SLOT)[:length], SLOT)


@pytest.mark.parametrize(
    "elsewhere",
    [{"table": "heads"}, {"column": "body"}, {"row": 8}, {"member": b"bob"}, {"version": 2}],
    ids=lambda change: next(iter(change)),
)
def test_value_moved_elsewhere_is_refused(elsewhere):
    key = SealingKey(new_key())
    sealed = key.seal(b"value", SLOT)

    with pytest.raises(SealBroken, match="cannot be opened"):
        key.open(sealed, SLOT._replace(**elsewhere))


def test_another_key_is_refused():
    sealed = SealingKey(new_key()).seal(b"value", SLOT)

    with pytest.raises(SealBroken):
        SealingKey(new_key()).open(sealed, SLOT)


def test_places_with_shifted_borders_differ():
    assert Slot("ab", "c").associated_data() != Slot("a", "bc").associated_data()


def test_unknown_format_is_named():
    key = SealingKey(new_key())
    sealed = b"\x02" + key.seal(b"value", SLOT)[len(FORMAT) :]

    with pytest.raises(SealBroken, match="Expected sealing format 01, found 02"):
        key.open(sealed, SLOT)


def test_no_nonce_repeats():
    key = SealingKey(new_key())

    nonces = {key.seal(b"", SLOT)[1 : 1 + NONCE_BYTES] for _ in range(20_000)}

    assert len(nonces) == 20_000


def test_what_a_seal_is_bound_to_never_changes():
    """Compared byte for byte: another layout would make all stored values unreadable."""
    slot = Slot("feedback", "state", 42, b"\x01\xff", 7)

    assert slot.associated_data() == b"\x01\x00\x08feedback\x00\x05state\x00\x0242\x00\x0401ff\x00\x017"
    assert (
        Slot("prior", "body").associated_data() == b"\x01\x00\x05prior\x00\x04body\x00\x00\x00\x00\x00\x010"
    )
