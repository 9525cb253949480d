"""Data that training reads and writes: changed members, labels, heads, rounds, the prior.

May import servers, replies and every room below.
"""
