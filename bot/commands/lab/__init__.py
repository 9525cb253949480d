"""Commands of offline experiments: evaluate, adapt-encoder, compress-encoder, tune, fit-starter.

:mod:`bot.commands.declared` declares them, and imports them when they run, because they need numpy and torch.
"""
