"""Ranking of candidates at reply time: scores, policy, style portfolio, explanations, pairs to compare.

May import solving, heads, labels, encoding and the leaves; not population, rounds or lab.
"""
