"""Fits many heads at once: Newton steps, posterior, the gate that compares a new head with the old one.

May import heads, labels, encoding and the leaves.
"""
