"""User interface for members and managers: buttons, panels, forms, charts, and the texts on them.

May import every room below it except the client; never a cog.
"""
