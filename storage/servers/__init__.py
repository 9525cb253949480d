"""Data of one server: settings, FAQ, safety rules, activity.

May import coordination, replies and every room below.
"""
