"""Quality numbers, each with its metric and source."""
