"""Training rounds: read feedback, build examples, solve heads, store and publish them; rebuild the prior.

Reads and writes ``storage`` through the protocol of ``store_protocol``; no other room does. May import
ranking, population and every room below.
"""
