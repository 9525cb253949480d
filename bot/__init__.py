"""The Discord side: events in, one ranked reply out.

The top package: imports ``personalization`` and ``storage``, and neither imports it.
"""
