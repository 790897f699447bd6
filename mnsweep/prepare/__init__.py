"""From cells to files that run: offers, channel padding, int8 ranges."""
