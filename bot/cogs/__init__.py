"""Cogs: receive an event or command, call the logic, answer.

May import ``bot.ui`` and every room below it except the client; a group of cogs never imports another group.
"""
