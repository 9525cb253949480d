"""Fits a starter prior for the configured encoder from the public sets that ship, in a process of its own.

May import every module of ``personalization.lab``. The running bot imports this room of the lab alone.
"""
