"""Turns a reply's text into features: encoder, adapter, style features, re-embedding.

May import the leaves of ``personalization`` only.
"""
