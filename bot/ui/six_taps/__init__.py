"""The six taps as members see them: the button that offers them, a pair with its buttons, the end."""
