"""Runs the program that prints the master key: ``[storage] master_key_command``.

The hook for key management services: the program is any client that prints the key, for example a script
around ``vault``. It runs in its own process group, with a time limit and a limit on its output. Errors name
the program and how it ended, never its arguments or what it printed, because both may hold secrets.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from storage.errors import KeyUnreadable
from storage.wording import counted

LIMIT_S = 10.0
"""Longest run of the program, seconds."""
MOST_BYTES = 4096
"""Largest output: two keys take 90 bytes."""


class KeyCommand:
    """A program with its arguments, run without a shell.

    Args:
        command: The program, found on PATH or by an absolute path, then its arguments.
        limit_s: Longest run, seconds.

    Attributes:
        what: Its name in messages.
    """

    def __init__(self, command: Sequence[str], limit_s: float = LIMIT_S) -> None:
        self._command, self._limit_s = command, limit_s
        self.what = f"the program {command[0]} of [storage] master_key_command"

    def lines(self) -> list[str]:
        """Run the program and return the lines of its output that are not blank. Blocks.

        Raises:
            KeyUnreadable: It cannot be started, fails, takes too long or prints too much.
        """
        program = self._command[0]
        if os.sep in program and not os.path.isabs(program):
            raise self._error("expected a name on PATH or an absolute path")
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own program, without a shell
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it may name the key, and ends up in our log
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:  # ValueError: a null byte
            raise self._error(f"it cannot be started ({getattr(exc, 'strerror', 'bad argument')})") from exc
        try:
            output, status = self._finished(process)
        finally:
            _end(process)
        if status:
            ended = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise self._error(f"it ended with {ended}")
        lines = output.decode("ascii", "replace").splitlines()  # no error that quotes what it printed
        return [line for line in lines if line.strip()]

    def _finished(self, process: subprocess.Popen[bytes]) -> tuple[bytes, int]:
        """Return the output and the exit status."""
        assert process.stdout is not None
        output, ends_at = b"", time.monotonic() + self._limit_s
        waiting = select.poll()  # select.select() takes no descriptor above 1023
        waiting.register(process.stdout, select.POLLIN)
        while True:
            if not waiting.poll(1000 * max(0.0, ends_at - time.monotonic())):
                raise self._error(f"it did not end within {counted(round(self._limit_s), 'second')}")
            piece = os.read(process.stdout.fileno(), MOST_BYTES)
            output += piece
            if len(output) > MOST_BYTES:
                raise self._error(f"it printed more than {counted(MOST_BYTES, 'byte')}")
            if not piece:
                break
        try:
            return output, process.wait(max(0.0, ends_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self._error(f"it did not end within {counted(round(self._limit_s), 'second')}") from None

    def _error(self, why: str) -> KeyUnreadable:
        return KeyUnreadable(f"No master key from {self.what}: {why}. Run it by hand to see why.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the program with everything it started, and close its output."""
    if process.returncode is None:  # not reaped yet, so that its number still belongs to its group
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
