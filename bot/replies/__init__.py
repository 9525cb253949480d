"""Decides which reply is posted: candidates, style wishes, turns, comparisons.

No Discord here. May import moderation, messages, servers, generators and everything below them.
"""
