"""Engines, schema, migrations and the single writer, for SQLite and PostgreSQL.

May import records and the leaves. Only this room depends on which database is in use.
"""
