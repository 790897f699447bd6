"""The plots, and what all of them share."""
