"""Kept starters: read back whole, or not at all; one process fits at a time, the others see how far it is."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import numpy as np
import pytest

from personalization.encoding.features import FeatureMap
from personalization.errors import StarterFailed
from personalization.heads import kept_starter
from personalization.heads.heads import starter_prior
from personalization.heads.kept_starter import KeptStarter
from personalization.heads.starter import find_starter, load_starter
from tests.fakes import HashEncoder
from tests.unit.personalization.bench import SETTINGS

FEATURES, OTHERS = FeatureMap(HashEncoder(8)), FeatureMap(HashEncoder(16))
FITTED = replace(starter_prior(FEATURES, SETTINGS), mean=np.linspace(-1, 1, FEATURES.dim).astype(np.float32))


@pytest.fixture
def kept(tmp_path) -> KeptStarter:
    return KeptStarter(tmp_path / "starters", FEATURES)


def test_a_kept_starter_is_found_for_its_features_alone(kept):
    path = kept.keep(FITTED.to_bytes())

    assert kept.path() == path
    assert kept.read() is not None and kept.read().prior_id == FITTED.prior_id
    assert KeptStarter(kept.folder, OTHERS).read() is None


def test_what_the_settings_decide_is_added_when_it_is_read(kept):
    kept.keep(FITTED.to_bytes())

    found = load_starter(FEATURES, replace(SETTINGS, bias_sd=3.0, loud_sd=0.0), kept)

    assert (found.bias_variance, found.loud) == (9.0, None)
    np.testing.assert_array_equal(found.mean, FITTED.mean)


DAMAGE = {
    "cut": lambda body: body[:-1],
    "empty": lambda body: b"",
    "one bit": lambda body: body[:-1] + bytes([body[-1] ^ 1]),
    "a page of zeros": lambda body: body[:512] + bytes(512) + body[1024:],
    "longer": lambda body: body + b"\0",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_not_used_and_makes_room(kept, caplog, damage):
    path = kept.keep(FITTED.to_bytes())
    path.write_bytes(damage(path.read_bytes()))

    assert kept.path() is None
    assert path.exists(), "looking changes nothing"
    assert find_starter(FEATURES, SETTINGS, kept) is None
    assert not path.exists()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_sound_file_of_other_features_under_this_name_is_not_used(kept):
    path = kept.keep(starter_prior(OTHERS, SETTINGS).to_bytes())

    assert kept.read() is None
    assert not path.exists()


def test_a_new_starter_replaces_those_of_other_recipes_and_left_over_parts(kept, monkeypatch):
    others = KeptStarter(kept.folder, OTHERS).keep(starter_prior(OTHERS, SETTINGS).to_bytes())
    with monkeypatch.context() as earlier:
        earlier.setattr(kept_starter, "FITTED_BY", "earlier")
        old = kept.keep(FITTED.to_bytes())
    assert kept.read() is None
    old.with_suffix(".1.part").write_bytes(b"half")

    new = kept.keep(FITTED.to_bytes())

    assert set(kept.folder.iterdir()) == {others, new}


def test_one_fits_at_a_time_and_the_others_see_how_far_it_is(kept):
    order = []

    def other() -> None:
        with KeptStarter(kept.folder, FEATURES).locked():
            order.append("other")

    waiting = threading.Thread(target=other)
    with kept.locked() as tell:
        waiting.start()
        tell("37%")
        seen = kept.is_being_fitted(), kept.told()
        tell("8%")
        shorter = kept.told()
        order.append("first")
    waiting.join()

    assert (seen, shorter) == ((True, "37%"), "8%")
    assert order == ["first", "other"]
    assert not kept.is_being_fitted()


def test_other_features_do_not_wait(kept):
    with kept.locked(), KeptStarter(kept.folder, OTHERS).locked():
        assert KeptStarter(kept.folder, OTHERS).is_being_fitted()


def test_a_folder_that_cannot_be_written_is_told(kept):
    kept.folder.write_text("a file in its place")

    with pytest.raises(StarterFailed, match="to be writable"), kept.locked():
        pass
    assert (kept.read(), kept.told(), kept.is_being_fitted()) == (None, "", False)
