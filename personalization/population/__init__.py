"""The prior: fitted on all consenting members, with calibration, pooled statistics and shifts by server.

May import solving, heads, labels, encoding and the leaves; not ranking, rounds or lab.
"""
