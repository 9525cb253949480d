"""Checks candidates before they are posted, and keeps the queue of replies that members reported.

No Discord here. May import generation, settings, languages and the other leaves of ``bot``.
"""
