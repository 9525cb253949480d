"""A member's rights: erasure, departures of servers, export, and the map of personal data.

May import learning, servers and every room below.
"""
