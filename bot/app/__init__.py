"""Composition of a running bot: parts, playground, health checks, monitor, logs, configuration reload.

May import everything in ``bot`` except the commands and the doctor.
"""
