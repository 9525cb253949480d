"""Offline experiments: evaluation, replay, fitting the starter, adapting the encoder, search of settings.

May import every other room of ``personalization``. The running bot never imports it.
"""
