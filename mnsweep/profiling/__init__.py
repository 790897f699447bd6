"""Profile of one cell: time and rooflines by layer."""
