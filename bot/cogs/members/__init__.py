"""Cogs for each member: feedback, style, insight, limits, help, privacy, data export.

May import ``bot.ui``, the client and every room below; no other group of cogs.
"""
