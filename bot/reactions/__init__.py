"""Turns gateway events into stored reactions: inbox, read-back after an outage, reconciliation.

May import ``bot.replies`` and every room below it; not ``bot.background``.
"""
