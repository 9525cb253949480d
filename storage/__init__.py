"""SQL, keys and encryption: the lowest package of the three.

It imports neither ``personalization`` nor ``bot``. Other packages use :class:`storage.store.Store`, which
offers operations in domain words (consent, impression, feedback, round, forget), and the frozen records in
:mod:`storage.records`.
"""
