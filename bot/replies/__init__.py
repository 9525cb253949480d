"""Decides which reply is posted: candidates, wishes, turns, ranking, recording, comparisons.

No Discord here. May import moderation, messages, servers, generators and everything below them.
"""
