"""Recognises messages that speak of self-harm or danger, and holds the help that answers them.

No Discord, no store, no model. Files of rules and texts, one for each language, are in ``languages``.
"""
