"""What holds for the packaged model alone: the manner in which it is asked."""
