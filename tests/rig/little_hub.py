"""A small Hugging Face hub on loopback, for the real ``huggingface_hub``: honest, broken or hostile.

It answers what a download asks: HEAD and GET of a file with commit, hash and size, parts of a file, and the
list of files. Large files are on a content server under another host name, as on the real hub.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from huggingface_hub import close_session

LARGE = (".gguf", ".safetensors")
FIRST_COMMIT = "1" * 40


@dataclass
class LittleHub:
    """The hub's files and its faults, which a test may change at any time.

    Attributes:
        files: Repository -> file name -> content.
        commit: Commit of every repository.
        url: Its address.
        cdn: Address of its content server.
        gated: Token that opens every repository; None: they are open.
        status: Status with which it refuses everything; None: it answers.
        hashes: File name -> the hash that the hub names instead of the true one.
        sizes: File name -> the size that it names instead of the true one.
        sent: File name -> what is sent instead of the true content.
        cut_after: Bytes after which an answer with a large file breaks off; None: never.
        cuts_resumed: Whether a part of a file breaks off, too; else the content server answers 503 then.
        open_end: What a large file's answer waits for after these bytes, instead of breaking off.
        takes_ranges: Whether parts of a file can be asked for.
        asked: Method, path and range of each request for a file.
        tokens: ``Authorization`` headers that the hub has seen, and, under ``cdn``, the content server.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commit: str = FIRST_COMMIT
    url: str = ""
    cdn: str = ""
    gated: str | None = None
    status: int | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    sent: dict[str, bytes] = field(default_factory=dict)
    cut_after: int | None = None
    cuts_resumed: bool = False
    open_end: asyncio.Event | None = None
    takes_ranges: bool = True
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    tokens: dict[str, set[str]] = field(default_factory=lambda: {"hub": set(), "cdn": set()})

    def gets(self) -> list[tuple[str, str]]:
        """Return name and range of each file that the content server was asked for."""
        return [(path.rpartition("/")[2], part) for method, path, part in self.asked if method == "CDN"]

    def put_in_place(self, monkeypatch) -> None:
        """Let ``huggingface_hub`` of this process ask this hub."""
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", self.url)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)

    def _hash_of(self, name: str, content: bytes) -> str:
        if name in self.hashes:
            return self.hashes[name]
        if name.endswith(LARGE):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        repo, name = request.match_info["repo"], request.match_info["name"]
        self.asked.append((request.method, f"{repo}/{name}", request.headers.get("Range", "")))
        self.tokens["hub"].add(request.headers.get("Authorization", ""))
        if (refusal := self._refused(request, repo, name)) is not None:
            return refusal
        content = self.files[repo][name]
        named = self._hash_of(name, content)
        size = str(self.sizes.get(name, len(content)))
        headers = {"X-Repo-Commit": self.commit, "ETag": f'"{named}"'}
        if name.endswith(LARGE):
            headers |= {"X-Linked-Etag": f'"{named}"', "X-Linked-Size": size, "ETag": '"of-the-redirect"'}
            return web.Response(status=302, headers=headers | {"Location": f"{self.cdn}/cdn/{repo}/{name}"})
        if request.method == "HEAD":
            return web.Response(headers=headers | {"Content-Length": size})
        return web.Response(body=self.sent.get(name, content), headers=headers)

    def _refused(self, request: web.Request, repo: str, name: str) -> web.Response | None:
        def refusal(status: int, code: str) -> web.Response:
            return web.Response(status=status, headers={"X-Error-Code": code, "X-Error-Message": code})

        shown = request.headers.get("Authorization")
        if self.status is not None:
            return refusal(self.status, "")
        if self.gated is not None and shown != f"Bearer {self.gated}":
            return refusal(403 if shown else 401, "GatedRepo")
        if repo not in self.files:
            return refusal(404, "RepoNotFound")
        if request.match_info["revision"] not in ("main", self.commit):
            return refusal(404, "RevisionNotFound")
        return None if name in self.files[repo] else refusal(404, "EntryNotFound")

    async def _content(self, request: web.Request) -> web.StreamResponse:
        repo, name = request.match_info["repo"], request.match_info["name"]
        part = request.headers.get("Range", "")
        self.asked.append(("CDN", f"{repo}/{name}", part))
        self.tokens["cdn"].add(request.headers.get("Authorization", ""))
        content = self.sent.get(name, self.files[repo][name])
        begin = int(part.removeprefix("bytes=").rstrip("-")) if part and self.takes_ranges else 0
        rest = content[begin:]
        if self.cut_after is not None and part and not self.cuts_resumed:
            return web.Response(status=503)
        response = web.StreamResponse(
            status=206 if begin else 200, headers={"Content-Length": str(len(rest))}
        )
        if begin:
            response.headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        await response.prepare(request)
        await response.write(rest[: self.cut_after])
        if self.open_end is not None:
            await self.open_end.wait()
        elif self.cut_after is not None and request.transport is not None:
            request.transport.close()
        return response

    async def _tree(self, request: web.Request) -> web.Response:
        files = self.files[request.match_info["repo"]]
        rows = [
            {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
            for name, content in files.items()
        ]
        return web.json_response(rows)


@asynccontextmanager
async def little_hub(files: dict[str, dict[str, bytes]] | None = None) -> AsyncIterator[LittleHub]:
    """Open a hub with these files: repository -> file name -> content."""
    hub = LittleHub(files or {})
    app = web.Application()
    app.router.add_route("*", "/{repo:[^/]+/[^/]+}/resolve/{revision}/{name:.+}", hub._resolve)
    app.router.add_get("/cdn/{repo:[^/]+/[^/]+}/{name:.+}", hub._content)
    app.router.add_get("/api/models/{repo:[^/]+/[^/]+}/tree/{revision}", hub._tree)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    hub.url, hub.cdn = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    close_session()
    try:
        yield hub
    finally:
        close_session()
        await runner.cleanup()
