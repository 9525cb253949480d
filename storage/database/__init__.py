"""Engines, schema, migrations and the single writer, for SQLite and PostgreSQL.

May import records and the leaves. The only room that knows which database is in use.
"""
