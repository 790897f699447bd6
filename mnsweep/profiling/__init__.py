"""Where the time of one cell goes."""
