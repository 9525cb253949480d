"""Cogs for server managers: configuration, FAQ, safety, reported replies, statistics.

May import ``bot.ui`` and every room below it except the client; no other group of cogs.
"""
