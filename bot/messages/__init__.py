"""Reads messages from Discord and posts replies: context, attachments, splitting, streaming, queues.

May import ``bot.servers``, generation, settings and the other leaves of ``bot``; not ``bot.generators``.
"""
