"""The search through the files finds needles, also across the boundary of two blocks."""

from __future__ import annotations

from contextlib import closing

import pytest

from storage.privacy import traces
from storage.privacy.traces import HeldFiles, traces_in_files

NEEDLE, OTHER = b"0123456789abcdef", b"fedcba9876543210"


@pytest.mark.parametrize("at", [0, 1, 31, 32, 33, 40, 47, 48, 84])
def test_a_needle_is_found_over_the_end_of_a_block_too(tmp_path, monkeypatch, at):
    monkeypatch.setattr(traces, "BLOCK_BYTES", 32)
    path = tmp_path / "data"
    path.write_bytes(b"." * at + NEEDLE + b"." * (100 - at - len(NEEDLE)))

    with closing(HeldFiles()) as held:
        assert traces_in_files([path], [NEEDLE, OTHER], held) == 1


def test_each_needle_counts_once_for_each_file_that_holds_it(tmp_path):
    paths = [tmp_path / name for name in ("both", "one", "none", "missing")]
    for path, content in zip(paths, (NEEDLE + OTHER + NEEDLE, OTHER, b""), strict=False):
        path.write_bytes(content)

    with closing(HeldFiles()) as held:
        assert [traces_in_files(paths, [NEEDLE, OTHER], held) for _ in range(2)] == [3, 3]
