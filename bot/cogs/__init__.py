"""Cogs: receive an event or command, call the logic, answer.

May import ``bot.ui``, the client and every room below; a group of cogs never imports another group.
"""
