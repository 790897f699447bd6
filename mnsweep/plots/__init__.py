"""The plots, and the code that they share."""
