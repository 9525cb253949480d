"""What `make audit` and `make sbom` say: tried with a vulnerability service on the loopback interface."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.rig.audited import NOTHING_KNOWN, UNKNOWN, VULNERABLE, main, pins

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
AFFECTED = {
    "package": {"name": "aiohttp", "ecosystem": "PyPI"},
    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0.0"}]}],
}


@pytest.fixture
def service(monkeypatch):
    """Start a service in the shape of OSV, which knows what a test puts into its list."""
    known: dict[str, list[dict]] = {}
    asked: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            vulns = known.get(asked[-1]["package"]["name"])
            body = json.dumps({"vulns": vulns} if vulns else {}).encode()
            self.send_response(500 if "status" in known else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write no line for each request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    put_service_at(server.server_port, monkeypatch)
    yield known, asked
    server.shutdown()
    thread.join()
    server.server_close()


def put_service_at(port: int, monkeypatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
    monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{port}/v1/query")


@pytest.mark.slow
def test_an_audit_asks_for_every_pinned_version_and_says_that_nothing_is_known(service, capsys):
    _, asked = service
    code = main()

    assert (code, capsys.readouterr().out) == (
        NOTHING_KNOWN,
        f"{len(pins())} packages, 0 known vulnerabilities\n",
    )
    assert sorted(f"{one['package']['name']}=={one['version']}" for one in asked) == pins()
    assert {"torch", "aiohttp", "pip-audit"} <= {pin.partition("==")[0] for pin in pins()}


@pytest.mark.slow
def test_an_audit_lists_what_is_known_and_fails(service, capsys):
    known, _ = service
    known["aiohttp"] = [
        {"id": "PYSEC-2026-1", "affected": [AFFECTED]},
        {"id": "PYSEC-2026-2", "affected": [AFFECTED], "withdrawn": "2026-01-01T00:00:00Z"},
    ]
    code = main()
    line, summary = capsys.readouterr().out.splitlines()

    assert code == VULNERABLE
    assert re.fullmatch(r"aiohttp \S+: PYSEC-2026-1, fixed in 99\.0\.0", line)
    assert summary.endswith("1 known vulnerabilities")


@pytest.mark.slow
def test_an_audit_without_an_answer_is_one_line_and_no_all_clear(service, capsys, monkeypatch):
    known, _ = service
    known["status"] = []
    broken = main()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    put_service_at(port, monkeypatch)
    unreachable = main()
    said = capsys.readouterr()

    assert (broken, unreachable, said.out) == (UNKNOWN, UNKNOWN, "")
    assert [line[:47] for line in said.err.splitlines()] == [
        "audit: the vulnerability service said nothing of"[:47]
    ] * 2


@pytest.mark.slow
def test_the_bill_of_materials_follows_the_schema_and_names_what_is_locked():
    recipe = re.search(r"\ncat locks.*\n.*-o \S+", "\n" + recipe_of("sbom"))
    assert recipe is not None
    arguments = shlex.split(recipe[0].partition("|")[2].replace("\\\n", " "))
    arguments = [sys.executable, "-m", "cyclonedx_py", *arguments[1:]]
    arguments[-1:] = ["-", "--no-validate"]  # validated below
    read = [ROOT / "locks" / "run.txt", ROOT / "locks" / "models.txt", ROOT / "constraints.txt"]
    bill = subprocess.run(
        arguments,
        input="".join(path.read_text() for path in read),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = json.loads(bill)
    validator = JsonStrictValidator(SchemaVersion.from_version(found["specVersion"]))

    assert validator.validate_str(bill) is None
    assert validator.validate_str("{}") is not None
    named = {f"{part['name']}=={part.get('version')}".lower() for part in found["components"]}
    locked = {
        line
        for path in read
        for line in re.findall(r"^[a-z0-9][^ ;\\\n]*==[^ ;\\\n]+", path.read_text(), re.M)
    }
    assert locked - named == set()
    assert found["metadata"]["component"]["name"] == "simpatico"


def recipe_of(target: str) -> str:
    """Return the commands of a target of the Makefile, with variables of the environment filled in."""
    text = (ROOT / "Makefile").read_text()
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.M)
    assert found is not None
    return found[1].replace("\t", "")


def test_every_stage_of_the_image_begins_from_the_same_tag_and_digest():
    stages = [step.split() for step in re.findall(r"^FROM\s+(.*)$", DOCKERFILE, re.M)]
    names = {step[-1] for step in stages if "AS" in step}
    copied = set(re.findall(r"--from=(\S+)", DOCKERFILE))

    assert {step[0] for step in stages} == {stages[0][0]}
    assert re.fullmatch(r"python:3\.\d+-slim@sha256:[0-9a-f]{64}", stages[0][0])
    assert copied == names  # nothing is copied from an image that is not pinned
    assert "# syntax=" not in DOCKERFILE  # it would fetch another image
