"""Fits the prior on all consenting members: pooled mean, covariance, calibration, and shifts by server.

May import solving, heads, labels, encoding and the leaves; not ranking, rounds or lab.
"""
