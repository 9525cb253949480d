"""Keys and cryptography: master key, data keys, sealing, pseudonyms, rotation, erasure ledger.

May import database, records and the leaves.
"""
