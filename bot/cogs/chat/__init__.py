"""Cogs that produce replies: messages, another answer, comparisons.

May import ``bot.ui`` and every room below it except the client; no other group of cogs.
"""
