"""Turns feedback into labels and weights, and learns what emoji mean.

May import the leaves of ``personalization`` only.
"""
