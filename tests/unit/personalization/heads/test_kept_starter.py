"""Kept starters: read back whole, or not at all; one process fits at a time, the others see how far it is."""

from __future__ import annotations

import errno
import logging
import os
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from personalization.encoding.features import FeatureMap
from personalization.errors import DatasetBroken, HeadDamaged, StarterFailed
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

    with pytest.raises(HeadDamaged):
        kept.path()
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
    assert (kept.read(), kept.told(), kept.is_being_fitted()) == (None, None, False)


PASSING = [errno.EMFILE, errno.EIO, errno.ESTALE, errno.EACCES]


@pytest.mark.parametrize("number", PASSING, ids=map(errno.errorcode.get, PASSING))
def test_a_starter_that_cannot_be_read_now_stays(kept, monkeypatch, caplog, number):
    path = kept.keep(FITTED.to_bytes())

    def unreadable(self: Path) -> bytes:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as passing:
        passing.setattr(Path, "read_bytes", unreadable)
        for look in (kept.read, kept.path):
            with pytest.raises(StarterFailed, match=os.strerror(number)):
                look()
        assert find_starter(FEATURES, SETTINGS, kept) is None
    assert os.strerror(number) in caplog.messages[0]

    assert kept.path() == path
    assert kept.read().prior_id == FITTED.prior_id


def test_a_file_that_another_process_replaces_meanwhile_is_no_trouble(kept, monkeypatch):
    kept.keep(FITTED.to_bytes())
    monkeypatch.setattr(KeptStarter, "_files", lambda self: [self.folder / f"{self._name}-gone.safetensors"])

    assert (kept.read(), kept.path()) == (None, None)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, "done"),
        (DatasetBroken("expected a set"), "failed: expected a set"),
        (OSError(errno.ENOSPC, "No space left on device"), "failed: [Errno 28] No space left on device"),
        (KeyboardInterrupt(), "37%"),
    ],
)
def test_how_a_fit_ended_is_told_and_the_next_one_begins_with_nothing(kept, error, told):
    expected = nullcontext() if error is None else pytest.raises(type(error))
    with expected, kept.locked() as tell:
        tell("37%")
        if error is not None:
            raise error

    assert kept.told() == told
    with kept.locked():
        assert kept.told() == ""


def test_what_an_earlier_recipe_told_is_not_told_of_this_one(kept, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(kept_starter, "FITTED_BY", "earlier")
        with kept.locked():
            pass
        assert kept.told() == "done"

    assert kept.told() is None


def test_a_failure_is_recorded_unless_another_process_fits(kept):
    with kept.locked() as tell:
        tell("37%")
        kept.tell_failure("killed")
        assert kept.told() == "37%"

    kept.tell_failure("killed")

    assert kept.told() == "failed: killed"


def test_a_full_disk_fails_the_keeping_alone_and_leaves_no_part(kept, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        with kept.locked() as tell:
            tell("37%")
            assert kept.told() == ""
            disk.setattr(Path, "replace", full)
            with pytest.raises(StarterFailed, match="No space left"):
                kept.keep(FITTED.to_bytes())

    assert {path.suffix for path in kept.folder.iterdir()} == {".lock"}


def test_keeping_leaves_its_own_lock_and_removes_those_of_other_recipes(kept, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(kept_starter, "FITTED_BY", "earlier")
        kept.tell_failure("earlier")
    with kept.locked():
        path = kept.keep(FITTED.to_bytes())
        assert kept.is_being_fitted()

    assert set(kept.folder.iterdir()) == {path, kept._lock}
