"""Posted replies and feedback on them: impressions, reactions, ratings, choices, reports, summaries.

May import members, keys, database, records and the leaves.
"""
