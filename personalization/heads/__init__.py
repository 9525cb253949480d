"""Member heads: their parameters, prior, packing into bytes, and the starter prior that ships.

May import labels, encoding and the leaves.
"""
