"""Cogs that produce replies: messages, another answer, comparisons.

May import ``bot.ui``, the client and every room below; no other group of cogs.
"""
