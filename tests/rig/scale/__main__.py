"""``python -m tests.rig.scale``: one run, with its verdict. Exit code 0: nothing was lost or doubled."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from tests.rig.postgres import running
from tests.rig.scale.outcome import Outcome
from tests.rig.scale.simulation import Size, simulation


def main() -> int:
    """Run, print the verdict, and write it into a file."""
    parser = argparse.ArgumentParser(prog="scale", description=__doc__)
    for one in fields(Size):
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=type(one.default), default=one.default)
    parser.add_argument("--json", type=Path, help="file for the outcome")
    given = vars(parser.parse_args())
    path = given.pop("json")
    outcome = asyncio.run(simulate(Size(**given)))
    if path is not None:
        path.write_text(json.dumps(outcome.as_json(), indent=1) + "\n")
    print(json.dumps(outcome.as_json(), indent=1))
    print(outcome.line(), flush=True)
    return int(bool(outcome.faults()))


async def simulate(size: Size) -> Outcome:
    """Run one size on a database server of its own."""
    with running() as postgres, tempfile.TemporaryDirectory(prefix="simpatico-scale-") as folder:
        faults = True
        try:
            async with simulation(size, postgres, Path(folder)) as here:
                outcome = await here.run()
            faults = bool(outcome.faults())
        finally:
            if faults:
                print((Path(folder) / "log.txt").read_text()[-10_000:], file=sys.stderr)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
