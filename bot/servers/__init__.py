"""Rules of one server: its settings, who may talk to the bot, daily limits.

May import config, settings and the other leaves of ``bot``; not ``bot.messages`` or ``bot.generators``.
"""
