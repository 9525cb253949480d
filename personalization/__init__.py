"""Learns each member's taste and ranks candidates by it.

Imports ``storage`` only for records and failpoints, never ``bot``. Errors: :mod:`personalization.errors`.
"""
