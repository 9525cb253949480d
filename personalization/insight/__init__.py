"""Reports on what was learnt: a member's taste, and the uplift of personalization over the prior.

May import rounds, ranking, population and every room below; not lab.
"""
