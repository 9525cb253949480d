"""Turns a reply's text into features: encoder, adapter, style features, re-encoding of earlier replies.

May import the leaves of ``personalization`` only.
"""
