"""Work that runs on a schedule: training rounds, trainer election, round curves, the uplift report.

May import ``bot.replies`` and every room below it; not ``bot.reactions``.
"""
