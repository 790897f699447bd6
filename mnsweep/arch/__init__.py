"""Networks as layers, and their cost. Only the standard library is used."""
