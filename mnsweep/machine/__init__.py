"""The machine: what it is, what disturbs it, and who measures on it now."""
