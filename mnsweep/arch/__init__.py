"""A network as layers: what they are, and what they cost. Standard library alone."""
