"""The command line, one file per sub-command of ``simpatico``.

The top floor of ``bot``: may import everything, and nothing imports it but ``bot.__main__``.
"""
