"""The Discord side: events in, one ranked reply out. Composes ``personalization`` and ``storage``."""
