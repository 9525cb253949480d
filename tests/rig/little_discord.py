"""The part of Discord's REST API that a login needs, for a server on the loopback interface."""

from __future__ import annotations

import base64
import json

from aiohttp import web

from bot.doctor.discord_account import PERMISSIONS

BOT_ID = 123456789012345678
TOKEN = f"{base64.b64encode(str(BOT_ID).encode()).decode().rstrip('=')}.GabcdE.{'x' * 38}"


def said(body: object, status: int = 200) -> web.Response:
    """Answer with JSON as Discord sends it: discord.py expects a content type without a charset."""
    return web.Response(
        body=json.dumps(body).encode(), status=status, headers={"Content-Type": "application/json"}
    )


class LittleDiscord:
    """The part of Discord's REST API that a login and a look at the servers need."""

    def __init__(self) -> None:
        self.status = 200
        self.flags = 0
        self.permissions = [PERMISSIONS.value]

    async def answer(self, request: web.Request) -> web.Response:
        if self.status != 200:
            return said({"message": "no", "code": 0}, self.status)
        me = {"id": str(BOT_ID), "username": "s", "discriminator": "0", "avatar": None, "bot": True}
        servers = [{"id": str(i + 1), "name": "a", "roles": []} for i in range(len(self.permissions))]
        match request.path.removeprefix("/api/v10").strip("/").split("/"):
            case ["users", "@me"]:
                return said(me)
            case ["users", "@me", "guilds"]:
                return said(servers)
            case ["applications", _, "commands"]:
                return said([])
            case ["guilds", number]:
                role = {"id": number, "permissions": str(self.permissions[int(number) - 1]), "position": 0}
                colours = {"primary_color": 0, "secondary_color": None, "tertiary_color": None}
                role |= {"name": "@everyone", "color": 0, "hoist": False, "managed": False, "flags": 0}
                role |= {"mentionable": False, "colors": colours}
                return said({"id": number, "name": "a", "owner_id": "1", "roles": [role]})
            case ["guilds", _, "members", _]:
                member = {"user": me, "roles": [], "joined_at": "2026-01-01T00:00:00+00:00", "flags": 0}
                return said(member | {"deaf": False, "mute": False})
            case _:  # the application
                about = {"id": str(BOT_ID), "name": "s", "description": "", "icon": None, "owner": me}
                about |= {"bot_public": True, "bot_require_code_grant": False, "verify_key": "", "team": None}
                return said(about | {"flags": self.flags, "summary": ""})
