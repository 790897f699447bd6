"""What to choose, from what is known: the frontier and the pick."""
