"""Members' heads and the prior: parameters, bytes, spread, and the starter prior that ships.

May import labels, encoding and the leaves.
"""
