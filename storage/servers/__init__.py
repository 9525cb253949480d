"""Data of one server: settings, FAQ, safety rules, activity.

May import replies, members, keys, database, records and the leaves.
"""
