"""The choice of a cell: frontier, constraints, ranking, and what to measure next."""
