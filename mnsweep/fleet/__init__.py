"""Other machines: the same command there, and what it measures here."""
