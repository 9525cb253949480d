"""Solves the heads of many members at once, and gates each head by how well it predicts its own labels.

May import heads, labels, encoding and the leaves.
"""
