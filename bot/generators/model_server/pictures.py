"""Attaches pictures to the last message of a request."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from bot.generation import Picture
from bot.generators.prompt import Message


def with_pictures(messages: Sequence[Message], pictures: Sequence[Picture]) -> list[Any]:
    """Append pictures to the last message as data URLs, so that the server fetches nothing."""
    if not pictures:
        return list(messages)
    *earlier, last = messages
    parts: list[dict[str, Any]] = []
    if last["content"]:  # some servers refuse an empty part
        parts.append({"type": "text", "text": last["content"]})
    for picture in pictures:
        data = base64.b64encode(picture.raw).decode()
        url = f"data:{picture.media_type};base64,{data}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return [*earlier, {"role": last["role"], "content": parts}]
