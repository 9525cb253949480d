"""Training rounds: gather labels, build examples, solve heads, publish them.

With ``lab`` the only room that reads ``storage``. May import ranking, population and every room below.
"""
