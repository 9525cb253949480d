"""One member's decisions: consent, paused learning, style wishes.

May import keys, database, records and the leaves.
"""
