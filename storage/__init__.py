"""Everything that knows SQL and keys.

The lowest of the three packages: it imports neither ``personalization`` nor ``bot``. Others meet it through
:class:`storage.store.Store`, which speaks in domain words (consent, impression, feedback, round, forget), and
through the frozen records in :mod:`storage.records`.
"""
