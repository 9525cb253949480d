"""The REST API: authorization, faults, limits and nonces around simcord's routes."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web
from simcord.backend import serializers
from simcord.backend.errors import BackendError
from simcord.http import RouteNotImplemented, UnsupportedField, dispatch

from tests.rig.discord_server.faults import Fault, Faults
from tests.rig.discord_server.limits import UNBOUND, IdentifyBudget, Limits, Verdict, refusal
from tests.rig.discord_server.world import World

PREFIX = "/api/v10"
_MESSAGE_CONTENT = 1 << 19
"""Flag of an application of less than a hundred servers that may read message content."""


@dataclass
class _Upload:
    """A file of a request, as simcord reads it."""

    fp: io.BytesIO
    filename: str
    description: str | None = None


@dataclass
class Rest:
    """The REST API.

    Attributes:
        world: The servers.
        token: Returns the bot token that counts now.
        gateway_url: Returns the address of the gateway.
        budget: Limits of new sessions, as ``GET /gateway/bot`` shows them.
        shards: The number of shards that Discord recommends.
        message_content: Whether the application may read message content.
        limits: Limits of requests.
        faults: Scripted faults.
        n_invalid: Answers 401, 403 and 429; after ten thousand in ten minutes Discord bans the address.
        missing: Requests that simcord has no route or field for, and requests that failed in it.
    """

    world: World
    token: Callable[[], str]
    gateway_url: Callable[[], str]
    budget: IdentifyBudget
    shards: int = 1
    message_content: bool = True
    limits: Limits = field(default_factory=Limits)
    faults: Faults = field(default_factory=Faults)
    n_invalid: int = 0
    missing: list[str] = field(default_factory=list)
    _nonces: dict[tuple[str, str], Any] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request."""
        path = request.rel_url.raw_path.removeprefix(PREFIX)
        fault = self.faults.met_by(request.method, path) or Fault(request.method, path)
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        response = await self._judged(request, path, fault)
        self.n_invalid += response.status in (401, 403, 429)
        if fault.lost and request.transport is not None:
            request.transport.abort()
        return response

    async def _judged(self, request: web.Request, path: str, fault: Fault) -> web.Response:
        """Refuse a request, or carry it out."""
        if not UNBOUND.match(path) and request.headers.get("Authorization") != f"Bot {self.token()}":
            return _said({"message": "401: Unauthorized", "code": 0}, 401)
        if fault.status == 429:
            return _too_early(refusal(fault.retry_after_s, everywhere=fault.everywhere))
        if fault.status is not None:
            return _said({"message": "scripted", "code": fault.code}, fault.status)
        verdict = self.limits.take(request.method, path)
        if verdict.retry_after_s is not None:
            return _too_early(verdict)
        body, files = await _body_of(request)
        try:
            return _said(self._carried_out(request, path, body, files), headers=verdict.headers)
        except (RouteNotImplemented, UnsupportedField) as exc:
            self.missing.append(str(exc))
            return _said(exc.to_json(), 501, verdict.headers)
        except BackendError as exc:
            return _said(exc.to_json(), exc.status, verdict.headers)
        except Exception as exc:
            self.missing.append(f"{request.method} {path}: {exc!r}")
            raise

    def _carried_out(self, request: web.Request, path: str, body: Any, files: list[_Upload]) -> Any:
        match request.method, path.strip("/").split("/"):
            case "GET", ["gateway"]:
                return {"url": self.gateway_url()}
            case "GET", ["gateway", "bot"]:
                shown = {"shards": self.shards, "session_start_limit": self.budget.as_shown()}
                return {"url": self.gateway_url()} | shown
            case "POST", ["channels", channel_id, "messages"]:
                return self._posted(channel_id, request, path, body, files)
            case "GET", ["channels", channel_id, "messages"]:
                page = self._dispatched(request, path, body, files)
                return [self._with_own_reactions(int(channel_id), one) for one in page]
            case "GET", ["channels", _, "messages", _, "reactions", _]:
                return _page(self._dispatched(request, path, body, files), request.query)
            case "GET", ["oauth2", "applications", "@me"]:
                flags = _MESSAGE_CONTENT if self.message_content else 0
                return self._dispatched(request, path, body, files) | {"flags": flags}
        return self._dispatched(request, path, body, files)

    def _posted(self, channel_id: str, request: web.Request, path: str, body: Any, files: Any) -> Any:
        """Post a message; an enforced nonce that was used before returns the message of that time."""
        nonce = body.get("nonce") if body.get("enforce_nonce") else None
        if nonce is not None and (channel_id, str(nonce)) in self._nonces:
            return self._nonces[channel_id, str(nonce)]
        message = self._dispatched(request, path, body, files)
        if nonce is not None:
            self._nonces[channel_id, str(nonce)] = message
        return message

    def _with_own_reactions(self, channel_id: int, message: dict[str, Any]) -> dict[str, Any]:
        """Say which reactions are the bot's own; simcord says it of a single message only."""
        backend = self.world.backend
        stored = backend.messages[channel_id].get(int(message["id"]))
        if stored is None or not stored.reactions:
            return message
        whole = serializers.message_payload(backend, stored, for_user=backend.bot_user.id)
        return message | {"reactions": whole.get("reactions", [])}

    def _dispatched(self, request: web.Request, path: str, body: Any, files: list[_Upload]) -> Any:
        return dispatch(
            self.world.backend,
            request.method,
            path,
            json=body,
            params=dict(request.query),
            files=files,
            reason=request.headers.get("X-Audit-Log-Reason"),
            message_content_access=self.message_content,
        )


def _page(users: list[dict[str, Any]], query: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a page of the users of a reaction, by id; the world has no super reactions."""
    if query.get("type") == "1":
        return []
    above = [one for one in users if int(one["id"]) > int(query.get("after", 0))]
    return sorted(above, key=lambda one: int(one["id"]))[: int(query.get("limit", 25))]


async def _body_of(request: web.Request) -> tuple[Any, list[_Upload]]:
    """Return the JSON of a request and its files."""
    if not request.content_type.startswith("multipart/"):
        data = await request.read()
        return (json.loads(data) if data else None), []
    body, files = None, []
    reader = await request.multipart()
    while isinstance(part := await reader.next(), BodyPartReader):
        if part.name == "payload_json":
            body = json.loads(await part.text())
        else:
            files.append(_Upload(io.BytesIO(await part.read()), part.filename or "file"))
    for described, file in zip((body or {}).get("attachments", ()), files, strict=False):
        file.description = described.get("description")
    return body, files


def _said(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with JSON as Discord sends it: discord.py expects a content type without a charset."""
    if body is None:
        return web.Response(status=204, headers=headers)
    content = {"Content-Type": "application/json"}
    return web.Response(body=json.dumps(body).encode(), status=status, headers=content | dict(headers or {}))


def _too_early(verdict: Verdict) -> web.Response:
    body = {"message": "You are being rate limited.", "retry_after": verdict.retry_after_s}
    return _said(body | {"global": verdict.everywhere, "code": 0}, 429, verdict.headers)
