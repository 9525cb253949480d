"""Reads messages from Discord and posts replies: context, attachments, splitting, streaming, queues.

May import generation, settings and the other leaves of ``bot``; not ``bot.servers`` or ``bot.generators``.
"""
