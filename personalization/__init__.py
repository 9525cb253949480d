"""Learns each member's taste from feedback, and ranks candidates by it.

Imports ``storage`` only for records and failpoints, never ``bot``. Errors: :mod:`personalization.errors`.
"""
