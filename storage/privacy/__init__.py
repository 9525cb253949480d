"""A member's rights: forgetting, departures, export, and the map of personal data.

May import learning, servers and every room below.
"""
