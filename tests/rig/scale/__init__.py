"""Simulation of a large bot: many servers, several real processes, one PostgreSQL, and ``kill -9``.

``make scale`` runs :mod:`.command`. The small Discord of :mod:`tests.rig.discord_server` counts what the
processes do, and a journal counts generations, so that a killed process cannot hide one.

* :mod:`.city`: servers and members; who asks, and who reacts.
* :mod:`.process`: one process of the bot, with a generator that keeps the journal.
* :mod:`.fleet`: starts, kills and restarts processes; their processor time and memory.
* :mod:`.journal`: what happened to each prompt.
* :mod:`.outcome`: the verdict and the figures of a run.
* :mod:`.simulation`: one run.
"""
