"""A sweep on disk, and everything derived from it."""
