"""Cogs for server managers: configuration, FAQ, safety, reported replies, statistics.

May import ``bot.ui``, the client and every room below; no other group of cogs.
"""
