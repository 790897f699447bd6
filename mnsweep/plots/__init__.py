"""The plots, and what they share."""
