"""Static check: the client satisfies the protocol that the ``setup`` of each cog takes.

discord.py loads cogs by name and passes the client untyped. Only this list shows pyright whether it fits.
Nothing here runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.client import SimpaticoBot
    from bot.cogs import admin, errors
    from bot.cogs.chat import another, chat, compare
    from bot.cogs.managers import config, faq, reported_replies, safety, stats
    from bot.cogs.members import feedback, help, insight, limits, my_data, privacy, style

    _SETUPS: list[Callable[[SimpaticoBot], Awaitable[None]]] = [
        admin.setup,
        another.setup,
        chat.setup,
        compare.setup,
        config.setup,
        errors.setup,
        faq.setup,
        feedback.setup,
        help.setup,
        insight.setup,
        limits.setup,
        my_data.setup,
        privacy.setup,
        reported_replies.setup,
        safety.setup,
        stats.setup,
        style.setup,
    ]
