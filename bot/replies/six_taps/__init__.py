"""The six taps: pairs of the bot's own short texts, between which members choose to show their taste at once.

The texts are in ``languages/<language>.toml``.
"""
