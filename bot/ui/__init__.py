"""What members and managers see: buttons, panels, forms, charts, and the texts on them.

May import every room below it except the client; never a cog.
"""
