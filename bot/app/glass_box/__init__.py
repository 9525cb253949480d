"""Glass box: a page beside the playground that shows how Simpatico learns, while it happens.

Only the playground opens it. :mod:`bot.app.glass_box.panels` keeps the latest replies in memory,
:mod:`bot.app.glass_box.looking` reads tastes and labels, :mod:`bot.app.glass_box.telling` says in sentences
what changed, and :mod:`bot.app.glass_box.serving` serves the page on a loopback port.
"""
