"""A network as rows: what its layers are, and what they cost. Standard library alone."""
