"""Offline experiments: evaluation, replay, starter prior, encoder adaptation, search of settings.

May import every other room of ``personalization``. The running bot imports ``own_starter`` alone, which runs
in a child process.
"""
