"""Turns feedback into labels and weights, and learns the meanings of emoji.

May import the leaves of ``personalization`` only.
"""
