"""User interface for members and managers: buttons, panels, forms, charts, and the texts on them.

May import the client and every room below it; never a cog.
"""
