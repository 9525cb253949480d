"""A member's decisions: consent, pause of learning, wishes for the style of replies.

May import keys, database, records and the leaves.
"""
