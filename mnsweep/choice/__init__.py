"""What to choose: the frontier, constraints, ranking, and what to measure next."""
