"""Cogs for each member: feedback, style, insight, limits, help, privacy, data export.

May import ``bot.ui`` and every room below it except the client; no other group of cogs.
"""
