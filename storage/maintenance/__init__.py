"""Backup, restore and checks of a whole data folder.

The top floor of ``storage``: may import every room.
"""
