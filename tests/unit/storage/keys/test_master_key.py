"""The master key: from the environment or a private file, created once, never over existing data."""

import base64
import stat

import pytest

from storage.errors import KeyMissing, KeyUnreadable
from storage.keys.master_key import KEY_FILE, source_of

KEY = bytes(range(32))

pytestmark = pytest.mark.sqlite_only("no database is opened")


@pytest.fixture
def key_file(settings):
    settings.key_dir.mkdir()
    return settings.key_dir / KEY_FILE


def present(settings, *, may_make):
    return source_of(settings).keys(may_make=may_make)[0]


def write_private(path, content):
    path.write_bytes(content)
    path.chmod(0o600)


def test_environment_gives_the_key(settings, monkeypatch):
    monkeypatch.setenv(settings.master_key_env, base64.b64encode(KEY).decode())

    assert present(settings, may_make=False) == KEY


def test_environment_goes_before_the_file(settings, key_file, monkeypatch):
    write_private(key_file, base64.b64encode(b"f" * 32))
    monkeypatch.setenv(settings.master_key_env, base64.b64encode(KEY).decode())

    assert present(settings, may_make=False) == KEY


def test_key_file_is_made_once_and_private(settings, key_file):
    first = present(settings, may_make=True)

    assert present(settings, may_make=True) == first
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert [path.name for path in settings.key_dir.iterdir()] == [KEY_FILE]


def test_leftover_of_a_crash_does_not_hinder(settings, key_file):
    key_file.with_suffix(".new").write_bytes(b"half")

    assert len(present(settings, may_make=True)) == 32


def test_missing_key_over_data_is_an_error_not_a_new_key(settings, key_file):
    with pytest.raises(KeyMissing, match=r"expected the file .*master\.key or the environment variable"):
        present(settings, may_make=False)

    assert not key_file.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_key_file_that_others_may_read_is_refused(settings, key_file, mode):
    write_private(key_file, base64.b64encode(KEY))
    key_file.chmod(mode)

    with pytest.raises(KeyUnreadable, match=rf"mode 0600\), found {mode:04o}; run chmod 600"):
        present(settings, may_make=True)


def test_unreadable_key_file_is_a_clear_error(settings, key_file):
    key_file.mkdir(mode=0o700)

    with pytest.raises(KeyUnreadable, match="Cannot read the key file"):
        present(settings, may_make=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found 0"),
        (base64.b64encode(b"short"), "found 5"),
        (b"not base64!", "found something else"),
        (b"\xff\xfe", "Cannot read"),
    ],
    ids=["empty", "short", "text", "binary"],
)
def test_malformed_key_file_is_a_clear_error(settings, key_file, content, message):
    write_private(key_file, content)

    with pytest.raises(KeyUnreadable, match=message):
        present(settings, may_make=True)


@pytest.mark.parametrize("key", ["hunter2!", "hunter2é", "“hunter2”", "hunter2\nhunter2", "hunter2\u200b"])
def test_malformed_environment_key_is_named_but_not_shown(settings, monkeypatch, key):
    monkeypatch.setenv(settings.master_key_env, key)

    with pytest.raises(KeyUnreadable, match="environment variable SIMPATICO_MASTER_KEY") as caught:
        present(settings, may_make=True)
    assert "hunter2" not in str(caught.value)
