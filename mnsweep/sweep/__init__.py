"""A sweep on disk, and everything that follows from it."""
