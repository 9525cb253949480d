"""Lists the known vulnerabilities of every pinned version: ``python -m tests.rig.audited`` (`make audit`).

pip-audit asks a vulnerability service (``PIP_AUDIT_VULNERABILITY_SERVICE``: pypi or osv). It gets versions
without hashes, because it refuses a list in which one package (torch) has none, and without markers, so that
every platform is audited. Exit code: 0 nothing is known, 1 vulnerabilities are listed, 2 nothing can be said.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTHING_KNOWN, VULNERABLE, UNKNOWN = 0, 1, 2


def pins() -> list[str]:
    """Return ``name==version`` of all locks and constraints, each once."""
    texts = [path.read_text() for path in (*(ROOT / "locks").glob("*.txt"), ROOT / "constraints.txt")]
    return sorted(
        {pin for text in texts for pin in re.findall(r"^[a-z0-9][^ ;\\\n]*==[^ ;\\\n]+", text, re.M)}
    )


def main() -> int:
    """Ask for every pinned version; print the answer, or one line that says why there is none."""
    asked = pins()
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "pins.txt")
        listed.write_text("\n".join(asked))
        program = [sys.executable, "-m", "pip_audit", "--strict", "--disable-pip", "--no-deps", "-r", listed]
        done = subprocess.run(
            [*program, "--format", "json", "--progress-spinner", "off"],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        answers = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        lines = done.stderr.strip().splitlines() or ["no answer"]
        print(f"audit: the vulnerability service said nothing of use: {lines[-1]}", file=sys.stderr)
        return UNKNOWN
    skipped = [answer["name"] for answer in answers if "skip_reason" in answer]
    if skipped or len(answers) != len(asked):
        what = ", ".join(skipped) or f"{len(asked) - len(answers)} packages"
        print(f"audit: the vulnerability service knows nothing about {what}", file=sys.stderr)
        return UNKNOWN
    found = [(answer, known) for answer in answers for known in answer["vulns"]]
    for answer, known in found:
        fixed = ", ".join(known["fix_versions"]) or "no version yet"
        print(f"{answer['name']} {answer['version']}: {known['id']}, fixed in {fixed}")
    print(f"{len(answers)} packages, {len(found)} known vulnerabilities")
    return VULNERABLE if found else NOTHING_KNOWN


if __name__ == "__main__":
    sys.exit(main())
